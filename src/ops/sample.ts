import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planSampling } from "../backend/wasm/plans/sampling.ts";
import { parseAdjustments } from "../calls/logit-adjustments.ts";
import { parseInteger, parseLogits, parseResults } from "../calls/sampling-arguments.ts";
import type { SampleCall } from "../calls/sampling-call.ts";
import { checkOptions, parseFlag, parseWithin } from "../errors/options.ts";
import { elementCount } from "../tensor/shape.ts";
import type { OutOf, Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link sample}, in the order in which they act. */
export interface SampleOptions {
  /** Added to the logits of some tokens, by token; −Infinity bans one. The same for all rows. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** The tokens so far, which the penalties are for: one list for all rows, or one for each. */
  readonly previous?: TokenList | readonly TokenList[];
  /** Divides positive logits of previous tokens and multiplies negative ones; more than 0, and 1 (default) is off. */
  readonly repetitionPenalty?: number;
  /** Subtracted from the logit of a previous token for each time it occurred. Default 0. */
  readonly frequencyPenalty?: number;
  /** Subtracted once from the logit of a previous token. Default 0. */
  readonly presencePenalty?: number;
  /** Divides the logits. Default 1; 0 takes the largest logit, the first of equal ones, whatever the filters are. */
  readonly temperature?: number;
  /** Applies the temperature behind the filters, as llama.cpp does, and not before them. Default false. */
  readonly temperatureLast?: boolean;
  /** Keeps so many of the largest, ties by index. 0 (default) is off. */
  readonly topK?: number;
  /** Keeps the smallest set, most probable first, that has this share of the probability; at least one. 1 (default) is off. */
  readonly topP?: number;
  /** Keeps what has at least this multiple of the largest probability. 0 (default) is off. */
  readonly minP?: number;
  /** Of the random numbers: an integer from 0. Default 0. The same seed, step and row give the same number. */
  readonly seed?: number;
  /** Number of the draw, such as the position of the token: an integer from 0. Default 0. */
  readonly step?: number;
  /** The dimension of tokens; negatives count from the end. Default −1. */
  readonly axis?: number;
  /** Receive the results: tensors of their shapes and dtypes, or typed arrays with as many elements. */
  readonly out?: OutOf<SampleResult>;
}

/** Tokens of a vocabulary. */
export type TokenList = readonly number[] | Int32Array;

/** What {@link sample} returns. Both have the shape of the logits without the axis. */
export interface SampleResult {
  /** The drawn tokens. */
  readonly tokens: Tensor<"i32">;
  /** The logarithms of their probabilities in the distribution they were drawn from: after all filters, at the temperature. */
  readonly logProbs: Tensor<"f32">;
}

const KNOWN = new Set([
  "logitBias",
  "previous",
  "repetitionPenalty",
  "frequencyPenalty",
  "presencePenalty",
  "temperature",
  "temperatureLast",
  "topK",
  "topP",
  "minP",
  "seed",
  "step",
  "axis",
  "out",
]);
/** The largest finite f32: kernels hold 1 / temperature in one. */
const MOST_SCALE = 3.4028234663852886e38;

/**
 * Draws the next token of each row of logits. A pure function: whatever is random follows from `seed`, `step` and the row's number.
 *
 * Options act in this order: logit bias, penalties, temperature, top-k, top-p, min-p, draw. The draw takes a uniform number u made by
 * Philox4x32-10 (key: the seed; counter: step and row) and returns the first token, in the order of the vocabulary, at which the cumulated
 * probability of what the filters kept exceeds u.
 *
 * @param logits - any shape up to eight dimensions, f32
 * @param options - see {@link SampleOptions}
 * @returns tokens and their log-probabilities; stored in `out` where given
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit or a row cannot be sampled (it has NaN or
 *   +inf, or nothing but −inf), UnsupportedError for f16 and bf16, DisposedError if a tensor has been disposed, BackendError if memory runs
 *   out. On error nothing is written
 *
 * @example
 * ```ts
 * const logits = new Float32Array([1, 3, 2]);
 * sample(logits, { temperature: 0 }).tokens.data; // [1]
 * const { tokens, logProbs } = sample(logits, { temperature: 0.7, topK: 2, seed: 42, step: 0 });
 * tokens.data; // [1]
 * logProbs.data; // [-0.2148]
 * ```
 */
export function sample(logits: TensorLike, options?: SampleOptions): SampleResult {
  return compute(defaultRuntime(), planSampling, parseSample(logits, options)) as SampleResult;
}

/** Checks the arguments of sample. @internal */
export function parseSample(input: unknown, options: SampleOptions = {}): SampleCall {
  checkOptions(options, KNOWN);
  const { logits, axis, cols } = parseLogits("logits", input, options.axis);
  const shape = logits.shape.filter((_, d) => d !== axis);
  const temperature = parseWithin("temperature", options.temperature, 1, 0);
  const greedy = temperature === 0;
  const scale = greedy ? 1 : Math.min(1 / temperature, MOST_SCALE);
  const last = parseFlag("temperatureLast", options.temperatureLast);
  const k = parseInteger("topK", options.topK ?? 0, 0);
  const topP = parseWithin("topP", options.topP, 1, 0, 1);
  const minP = parseWithin("minP", options.minP, 0, 0, 1);
  const { adjustments, penalties } = parseAdjustments(options, cols, elementCount(shape));
  return {
    kind: "sampling",
    op: "sample",
    axis,
    k: greedy ? 1 : k < cols ? k : 0,
    topP: greedy || topP === 1 ? Infinity : topP,
    minP: greedy ? 0 : minP,
    filterScale: last ? 1 : scale,
    drawScale: scale,
    seed: parseInteger("seed", options.seed ?? 0, 0),
    step: parseInteger("step", options.step ?? 0, 0),
    adjustments,
    penalties,
    operands: { logits },
    results: parseResults(options.out, { tokens: { shape, dtype: "i32" }, logProbs: { shape, dtype: "f32" } }, { logits }),
  };
}
