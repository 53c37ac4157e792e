import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planRows } from "../backend/wasm/plans/rows.ts";
import type { RowCall } from "../calls/row-call.ts";
import { checkOptions } from "../errors/options.ts";
import type { DTypeOf, Tensor, TensorLike } from "../tensor/tensor.ts";
import { type SoftmaxOptions, parseSoftmax } from "./softmax.ts";

/** Options of {@link logSoftmax}. They mean the same as for `softmax`. */
export type LogSoftmaxOptions = Omit<SoftmaxOptions, "algorithm">;

const KNOWN = new Set(["axis", "scale", "bias", "mask", "safe", "out"]);

/**
 * Log-softmax along one axis, as (x − max) − log Σ exp(x − max). This gives the logarithm even of a probability that is too small
 * for a float.
 *
 * @param x - any shape up to eight dimensions, in any storage that `softmax` takes
 * @param options - as for `softmax`; with `safe`, a row without finite elements gives −inf, not NaN
 * @returns a tensor of the input's shape and dtype; stored in `out` if given
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for bytes without scales,
 *   DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is written
 *
 * @example
 * ```ts
 * logSoftmax(new Float32Array([1000, 0])).data; // [0, -1000]
 * ```
 */
export function logSoftmax<T extends TensorLike>(x: T, options?: LogSoftmaxOptions): Tensor<DTypeOf<T>> {
  return compute(defaultRuntime(), planRows, parseLogSoftmax(x, options)) as Tensor<DTypeOf<T>>;
}

/** Checks the arguments of logSoftmax. @internal */
export function parseLogSoftmax(x: unknown, options: LogSoftmaxOptions = {}): RowCall {
  checkOptions(options, KNOWN);
  return { ...parseSoftmax(x, options), op: "logSoftmax" };
}
