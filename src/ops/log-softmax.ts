import { runRowCall } from "../backend/wasm/plans/row-calls.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { checkOptions } from "../errors/options.ts";
import type { RowCall } from "../calls/row-call.ts";
import { type SoftmaxOptions, parseSoftmax } from "./softmax.ts";
import type { DTypeOf, Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link logSoftmax}, with the meaning they have for `softmax`. */
export type LogSoftmaxOptions = Omit<SoftmaxOptions, "algorithm">;

const KNOWN = new Set(["axis", "scale", "bias", "mask", "safe", "out"]);

/**
 * Log-softmax along one axis, as (x − max) − log Σ exp(x − max): the logarithm of a probability that may itself be too small
 * for a float.
 *
 * @param x - any shape up to eight dimensions, f32 or f64
 * @param options - as for `softmax`; with `safe`, a row without any finite element gives −inf, not NaN
 * @returns a tensor of the input's shape and dtype; over `out` when given
 * @throws TypeError if an argument is of the wrong kind, RangeError if a value or shape does not fit, UnsupportedError for what the CPU
 *   does not compute (f16 and bf16), DisposedError for a tensor after its `dispose()`, BackendError if memory is exhausted; nothing is
 *   written then
 *
 * @example
 * ```ts
 * logSoftmax(new Float32Array([1000, 0])).data; // [0, -1000]
 * ```
 */
export function logSoftmax<T extends TensorLike>(x: T, options?: LogSoftmaxOptions): Tensor<DTypeOf<T>> {
  return logSoftmaxOn(defaultRuntime(), x, options) as Tensor<DTypeOf<T>>;
}

/** Log-softmax on a given instance of the kernels. @internal */
export function logSoftmaxOn(runtime: Runtime, x: TensorLike, options?: LogSoftmaxOptions): Tensor<"f32" | "f64"> {
  return runRowCall(runtime, parseLogSoftmax(x, options));
}

/** Checks the arguments of logSoftmax. @internal */
export function parseLogSoftmax(x: unknown, options: LogSoftmaxOptions = {}): RowCall {
  checkOptions(options, KNOWN);
  return { ...parseSoftmax(x, options), op: "logSoftmax" };
}
