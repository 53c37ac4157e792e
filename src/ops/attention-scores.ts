import { type ScoreOptions, checkScoresOptions, parseHeads, parseScores } from "../calls/attention-arguments.ts";
import { hostScoreCall } from "../calls/attention-call.ts";
import { STAGE_MASKED, STAGE_RAW, STAGE_SOFTCAPPED, runScores } from "../backend/wasm/plans/attention-scores.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import type { ScoreStage, ScoresCall } from "../calls/scores-call.ts";
import { headsFirst } from "../calls/head-layout.ts";
import { logSumExpOn } from "./log-sum-exp.ts";
import { parseChoice } from "../errors/options.ts";
import { elementCount } from "../tensor/shape.ts";
import { softmaxOn } from "./softmax.ts";
import type { Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link attentionScores}. */
export interface AttentionScoresOptions extends ScoreOptions {
  /** Default "probabilities". */
  readonly stage?: ScoreStage;
}

/**
 * The L × S matrix that `attention` never forms, for pictures and debugging. Raw and softcapped scores are those of all keys,
 * also of the ones that lengths, causality or masks hide later.
 *
 * @param q - queries [B, Hq, L, E]; fewer leading dimensions are fine; f32
 * @param k - keys [B, Hkv, S, E]
 * @param options - those of `attention` that decide a score, and `stage`
 * @returns [B, Hq, L, S] (heads before length in both layouts), without the dimensions that q lacks
 * @throws TypeError if an argument is of the wrong kind, RangeError if a value or shape does not fit, UnsupportedError for what the CPU
 *   does not compute (f16 and bf16, head dimensions beyond 1024), DisposedError for a tensor after its `dispose()`, BackendError if memory
 *   is exhausted
 *
 * @example
 * ```ts
 * const q = tensor(new Float32Array([1, 0, 0, 1]), [2, 2]);
 * attentionScores(q, q, { stage: "raw", scale: 1 }).data; // [1, 0, 0, 1]
 * ```
 */
export function attentionScores(q: TensorLike, k: TensorLike, options?: AttentionScoresOptions): Tensor<"f32"> {
  return attentionScoresOn(defaultRuntime(), q, k, options);
}

/** Scores on a given instance of the kernels. @internal */
export function attentionScoresOn(runtime: Runtime, q: TensorLike, k: TensorLike, options?: AttentionScoresOptions): Tensor<"f32"> {
  return runScoresCall(runtime, parseAttentionScores(q, k, options));
}

/** Checks the arguments of attentionScores. @internal */
export function parseAttentionScores(q: unknown, k: unknown, options: AttentionScoresOptions = {}): ScoresCall {
  checkScoresOptions(options);
  const stage = parseChoice<ScoreStage>("stage", options.stage, ["probabilities", "raw", "softcapped", "masked"]);
  const call = parseScores(parseHeads("q", q), parseHeads("k", k), undefined, options);
  return { ...call, stage, shape: headsFirst(call.sizes, call.keyLength) };
}

/** Runs a call on the calling thread. @internal */
export function runScoresCall(runtime: Runtime, given: ScoresCall): Tensor<"f32"> {
  const call = hostScoreCall(given);
  const { stage, shape, keyLength, heads, sinks } = call;
  const data = new Float32Array(elementCount(shape));
  if (data.length > 0) runScores(runtime, call, keyLength, stage === "raw" ? STAGE_RAW : stage === "softcapped" ? STAGE_SOFTCAPPED : STAGE_MASKED, data);
  const scores: Tensor<"f32"> = { data, shape, dtype: "f32" };
  if (stage !== "probabilities" || data.length === 0) return scores;

  const lse = sinks === undefined ? undefined : logSumExpOn(runtime, scores);
  softmaxOn(runtime, scores, { safe: true, out: scores });
  if (lse === undefined || sinks === undefined) return scores;
  const queries = shape.at(-2) ?? 1;
  // A sink takes its share of every row: the rest keep exp(lse) / (exp(lse) + exp(sink)).
  lse.data.forEach((rowLse, row) => {
    const sink = sinks[Math.floor(row / queries) % heads] ?? -Infinity;
    if (sink === -Infinity) return;
    const share = 1 / (1 + Math.exp(sink - rowLse));
    for (let j = 0; j < keyLength; j++) data[row * keyLength + j] = (data[row * keyLength + j] ?? 0) * share;
  });
  return scores;
}
