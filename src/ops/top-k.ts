import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planSampling } from "../backend/wasm/plans/sampling.ts";
import { parseInteger, parseLogits, parseResults } from "../calls/sampling-arguments.ts";
import type { TopKCall } from "../calls/sampling-call.ts";
import { checkOptions } from "../errors/options.ts";
import type { OutOf, Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link topK}. */
export interface TopKOptions {
  /** The dimension to search; negatives count from the end. Default −1. */
  readonly axis?: number;
  /** Receive the results: tensors of their shapes and dtypes, or typed arrays with as many elements. */
  readonly out?: OutOf<TopKResult>;
}

/** What {@link topK} returns. Both have the input's shape, with size `k` along the axis. */
export interface TopKResult {
  /** The elements, largest first. */
  readonly values: Tensor<"f32">;
  /** Where they are along the axis. */
  readonly indices: Tensor<"i32">;
}

const KNOWN = new Set(["axis", "out"]);

/**
 * The `k` largest elements along one axis, largest first, equal ones by index. NaN counts as larger than any number. Rows are not sorted:
 * blocks whose max is too small are skipped.
 *
 * @param x - any shape up to eight dimensions, f32
 * @param k - how many, from 1 to the size of the axis
 * @param options - see {@link TopKOptions}
 * @returns values and indices; stored in `out` where given
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for f16 and bf16,
 *   DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is written
 *
 * @example
 * ```ts
 * const { values, indices } = topK(new Float32Array([1, 5, 3, 5]), 3);
 * values.data; // [5, 5, 3]
 * indices.data; // [1, 3, 2]
 * ```
 */
export function topK(x: TensorLike, k: number, options?: TopKOptions): TopKResult {
  return compute(defaultRuntime(), planSampling, parseTopK(x, k, options)) as TopKResult;
}

/** Checks the arguments of topK. @internal */
export function parseTopK(input: unknown, k: unknown, options: TopKOptions = {}): TopKCall {
  checkOptions(options, KNOWN);
  const { logits: x, axis, cols } = parseLogits("x", input, options.axis);
  const count = parseInteger("k", k, 1, cols);
  const shape = x.shape.map((size, d) => (d === axis ? count : size));
  const results = parseResults(options.out, { values: { shape, dtype: "f32" }, indices: { shape, dtype: "i32" } }, { x });
  return { kind: "sampling", op: "topK", axis, k: count, scale: 1, operands: { x }, results };
}
