import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planSampling } from "../backend/wasm/plans/sampling.ts";
import { parseInteger, parseLogits, parseResults } from "../calls/sampling-arguments.ts";
import type { TopKCall } from "../calls/sampling-call.ts";
import { checkOptions, parseFinite } from "../errors/options.ts";
import type { OutOf, Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link topKSoftmax}. */
export interface TopKSoftmaxOptions {
  /** The dimension that sums to one; negatives count from the end. Default −1. */
  readonly axis?: number;
  /** Multiplies the logits; a temperature T is `scale: 1 / T`. Positive, default 1. */
  readonly scale?: number;
  /** Receive the results: tensors of their shapes and dtypes, or typed arrays with as many elements. */
  readonly out?: OutOf<TopKSoftmaxResult>;
}

/** What {@link topKSoftmax} returns. Both have the shape of the logits, with size `k` along the axis. */
export interface TopKSoftmaxResult {
  /** Where the most probable elements are along the axis, most probable first. */
  readonly indices: Tensor<"i32">;
  /** The logarithms of their probabilities. */
  readonly logProbs: Tensor<"f32">;
}

const KNOWN = new Set(["axis", "scale", "out"]);

/**
 * The `k` most probable elements under the softmax of the whole row, in one read of it: what `logSoftmax` and then `topK` give, without the
 * row of probabilities.
 *
 * @param logits - any shape up to eight dimensions, f32
 * @param k - how many, from 1 to the size of the axis
 * @param options - see {@link TopKSoftmaxOptions}
 * @returns indices and logProbs, most probable first, equal ones by index; stored in `out` where given. Rows with NaN or +inf, or of −inf
 *   alone, give NaN as `logSoftmax` does
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for f16 and bf16,
 *   DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is written
 *
 * @example
 * ```ts
 * const { indices, logProbs } = topKSoftmax(new Float32Array([1, 2, 3, 4]), 2);
 * indices.data; // [3, 2]
 * logProbs.data; // [-0.4402, -1.4402]
 * ```
 */
export function topKSoftmax(logits: TensorLike, k: number, options?: TopKSoftmaxOptions): TopKSoftmaxResult {
  return compute(defaultRuntime(), planSampling, parseTopKSoftmax(logits, k, options)) as TopKSoftmaxResult;
}

/** Checks the arguments of topKSoftmax. @internal */
export function parseTopKSoftmax(input: unknown, k: unknown, options: TopKSoftmaxOptions = {}): TopKCall {
  checkOptions(options, KNOWN);
  const { logits, axis, cols } = parseLogits("logits", input, options.axis);
  const count = parseInteger("k", k, 1, cols);
  const scale = parseFinite("scale", options.scale, 1);
  if (!(scale > 0)) throw new RangeError(`"scale" expected a positive number, got ${scale}`);
  const shape = logits.shape.map((size, d) => (d === axis ? count : size));
  const results = parseResults(options.out, { indices: { shape, dtype: "i32" }, logProbs: { shape, dtype: "f32" } }, { logits });
  return { kind: "sampling", op: "topKSoftmax", axis, k: count, scale, operands: { logits }, results };
}
