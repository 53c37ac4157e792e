import { parseInput, parseOutput, parseRowModifiers } from "./row-arguments.ts";
import { STATE_BYTES } from "./backend/wasm/kernels.ts";
import { runRows } from "./backend/wasm/rows.ts";
import { type Runtime, defaultRuntime } from "./backend/wasm/runtime.ts";
import { checkOptions, parseFlag } from "./options.ts";
import { planRows } from "./row-plan.ts";
import { elementCount, parseAxis } from "./shape.ts";
import type { SoftmaxOptions } from "./softmax.ts";
import type { DTypeOf, Tensor, TensorLike } from "./tensor.ts";

/** Options of {@link logSoftmax}, with the meaning they have for `softmax`. */
export type LogSoftmaxOptions = Omit<SoftmaxOptions, "algorithm">;

const KNOWN = new Set(["axis", "scale", "bias", "mask", "safe", "out"]);

/**
 * Log-softmax along one axis, as (x − max) − log Σ exp(x − max): the logarithm of a probability that may itself be too small
 * for a float.
 *
 * @param x - any shape up to eight dimensions, f32 or f64
 * @param options - as for `softmax`; with `safe`, a row without any finite element gives −inf, not NaN
 * @returns a tensor of the input's shape and dtype; `out` when given
 * @throws TypeError if an argument is of the wrong kind, RangeError if a value or shape does not fit; nothing is written then
 *
 * @example
 * ```ts
 * logSoftmax(new Float32Array([1000, 0])).data; // [0, -1000]
 * ```
 */
export function logSoftmax<T extends TensorLike>(x: T, options?: LogSoftmaxOptions): Tensor<DTypeOf<T>> {
  return logSoftmaxOn(defaultRuntime(), x, options) as Tensor<DTypeOf<T>>;
}

const LOG_SOFTMAX_F64 = 1;

/** Log-softmax on a given instance of the kernels. @internal */
export function logSoftmaxOn(runtime: Runtime, input: TensorLike, options: LogSoftmaxOptions = {}): Tensor<"f32" | "f64"> {
  checkOptions(options, KNOWN);
  const x = parseInput("x", input);
  const axis = parseAxis(options.axis ?? -1, x.shape.length);
  const safe = parseFlag("safe", options.safe) ? 1 : 0;
  const { scale, bias, mask } = parseRowModifiers(options, x);
  const out = parseOutput(options.out, x.shape, x.dtype, x, { bias: bias?.data, mask: mask?.data });
  if (elementCount(x.shape) === 0) return out.tensor;

  runRows(runtime, {
    plan: planRows(x.shape, [axis], { x: x.strides, y: out.strides, bias: bias?.strides, mask: mask?.strides }),
    dtype: x.dtype,
    x: x.data,
    y: out.data,
    reduces: false,
    scale,
    bias: bias?.data,
    mask: mask?.data,
    scratchBytes: STATE_BYTES,
    kernel:
      x.dtype === "f32"
        ? ({ kernels }, from, to, rows, cols, fromStride, toStride, scratch) =>
            kernels.log_softmax_f32(from, to, rows, cols, fromStride, toStride, scratch, safe)
        : ({ kernels }, from, to, rows, cols, fromStride, toStride) => kernels.rows_f64(from, to, rows, cols, fromStride, toStride, LOG_SOFTMAX_F64, safe),
  });
  return out.tensor;
}
