import { parseInput, parseOutput, parseRowModifiers } from "./row-arguments.ts";
import { STATE_BYTES } from "./backend/wasm/kernels.ts";
import { runRows } from "./backend/wasm/rows.ts";
import { type Runtime, defaultRuntime } from "./backend/wasm/runtime.ts";
import { checkOptions, parseFlag } from "./options.ts";
import { planRows } from "./row-plan.ts";
import { elementCount, parseAxis } from "./shape.ts";
import type { SoftmaxOptions } from "./softmax.ts";
import type { DTypeOf, Tensor, TensorLike } from "./tensor.ts";

/** Options of {@link logSumExp}. */
export interface LogSumExpOptions extends Omit<SoftmaxOptions, "axis" | "algorithm" | "safe"> {
  /** The dimension, or dimensions, to reduce; `[]` reduces none. Default −1. */
  readonly axis?: number | readonly number[];
  /** Keeps reduced dimensions with size 1. Default false. */
  readonly keepDims?: boolean;
}

const KNOWN = new Set(["axis", "keepDims", "scale", "bias", "mask", "out"]);

/**
 * log Σ exp(x) over one or more axes, without overflow.
 *
 * @param x - any shape up to eight dimensions, f32 or f64
 * @param options - see {@link LogSumExpOptions}
 * @returns a tensor of the input's dtype without the reduced dimensions (with `keepDims`: size 1); `out` when given. Rows that
 *   are empty or −inf throughout give −inf, rows with +inf give +inf, rows with NaN give NaN
 * @throws TypeError if an argument is of the wrong kind, RangeError if a value or shape does not fit; nothing is written then
 *
 * @example
 * ```ts
 * logSumExp(new Float32Array([1000, 1000])).data; // [1000.6931]
 * ```
 */
export function logSumExp<T extends TensorLike>(x: T, options?: LogSumExpOptions): Tensor<DTypeOf<T>> {
  return logSumExpOn(defaultRuntime(), x, options) as Tensor<DTypeOf<T>>;
}

const LOG_SUM_EXP_F64 = 2;

/** Log-sum-exp on a given instance of the kernels. @internal */
export function logSumExpOn(runtime: Runtime, input: TensorLike, options: LogSumExpOptions = {}): Tensor<"f32" | "f64"> {
  checkOptions(options, KNOWN);
  const x = parseInput("x", input);
  const rank = x.shape.length;
  const axes = parseAxes(options.axis ?? -1, rank);
  const keepDims = parseFlag("keepDims", options.keepDims);
  const { scale, bias, mask } = parseRowModifiers(options, x);
  const kept = x.shape.map((size, d) => (axes.includes(d) ? 1 : size));
  const shape = keepDims ? kept : kept.filter((_, d) => !axes.includes(d));
  const out = parseOutput(options.out, shape, x.dtype, x, { bias: bias?.data, mask: mask?.data });
  if (elementCount(shape) === 0) return out.tensor;

  // The result's strides over the input's dimensions, 0 along reduced ones.
  let next = 0;
  const yStrides = x.shape.map((_, d) => (axes.includes(d) ? ((next += keepDims ? 1 : 0), 0) : (out.strides[next++] ?? 0)));
  runRows(runtime, {
    plan: planRows(x.shape, axes, { x: x.strides, y: yStrides, bias: bias?.strides, mask: mask?.strides }),
    dtype: x.dtype,
    x: x.data,
    y: out.data,
    reduces: true,
    scale,
    bias: bias?.data,
    mask: mask?.data,
    scratchBytes: STATE_BYTES,
    kernel:
      x.dtype === "f32"
        ? ({ kernels }, from, to, rows, cols, fromStride, toStride, scratch) => kernels.log_sum_exp_f32(from, to, rows, cols, fromStride, toStride, scratch)
        : ({ kernels }, from, to, rows, cols, fromStride, toStride) => kernels.rows_f64(from, to, rows, cols, fromStride, toStride, LOG_SUM_EXP_F64, 0),
  });
  return out.tensor;
}

/** Distinct axes of a tensor of `rank` dimensions. A scalar reduces over nothing. */
function parseAxes(value: unknown, rank: number): readonly number[] {
  const axes = (Array.isArray(value) ? (value as unknown[]) : [value]).map((axis) => parseAxis(axis, rank));
  if (new Set(axes).size !== axes.length) throw new RangeError(`"axis" expected distinct dimensions, got [${axes.join(", ")}]`);
  return axes.filter((axis) => axis < rank);
}
