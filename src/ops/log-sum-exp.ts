import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planRows } from "../backend/wasm/plans/rows.ts";
import { computedType, parseInput, parseOutput, parseRowModifiers } from "../calls/arguments.ts";
import type { RowCall } from "../calls/row-call.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions, parseFlag } from "../errors/options.ts";
import { parseAxis } from "../tensor/shape.ts";
import type { DTypeOf, Tensor, TensorLike } from "../tensor/tensor.ts";
import type { SoftmaxOptions } from "./softmax.ts";

/** Options of {@link logSumExp}. */
export interface LogSumExpOptions extends Omit<SoftmaxOptions, "axis" | "algorithm" | "safe"> {
  /** The dimension or dimensions to reduce; `[]` reduces none. Default −1. */
  readonly axis?: number | readonly number[];
  /** Keeps reduced dimensions, with size 1. Default false. */
  readonly keepDims?: boolean;
}

const KNOWN = new Set(["axis", "keepDims", "scale", "bias", "mask", "out"]);

/**
 * log Σ exp(x) over one or more axes, without overflow.
 *
 * @param x - any shape up to eight dimensions, in any storage that `softmax` takes
 * @param options - see {@link LogSumExpOptions}
 * @returns a tensor of the input's dtype without the reduced dimensions (size 1 with `keepDims`); stored in `out` if given. A row that
 *   is empty or all −inf gives −inf, a row with +inf gives +inf, a row with NaN gives NaN
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for bytes without scales,
 *   DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is written
 *
 * @example
 * ```ts
 * logSumExp(new Float32Array([1000, 1000])).data; // [1000.6931]
 * ```
 */
export function logSumExp<T extends TensorLike>(x: T, options?: LogSumExpOptions): Tensor<DTypeOf<T>> {
  return compute(defaultRuntime(), planRows, parseLogSumExp(x, options)) as Tensor<DTypeOf<T>>;
}

/** Checks the arguments of logSumExp. @internal */
export function parseLogSumExp(input: unknown, options: LogSumExpOptions = {}): RowCall {
  checkOptions(options, KNOWN);
  const { axis = -1 } = options;
  const x = parseInput("x", input);
  const axes = parseAxes(axis, x.shape.length);
  const keepDims = parseFlag("keepDims", options.keepDims);
  const { scale, bias, mask } = parseRowModifiers(options, x);
  const kept = x.shape.map((size, d) => (axes.includes(d) ? 1 : size));
  const shape = keepDims ? kept : kept.filter((_, d) => !axes.includes(d));
  const dtype = computedType(x);
  const out = parseOutput(options.out, shape, dtype, x, { bias, mask });
  return {
    kind: "rows",
    op: "logSumExp",
    algorithm: "auto",
    safe: false,
    scale,
    shape: x.shape,
    axes,
    operands: { x, bias, mask },
    results: { out: { shape, dtype, out } },
  };
}

/** Distinct axes of a tensor of `rank` dimensions. A scalar reduces over nothing. */
function parseAxes(value: unknown, rank: number): readonly number[] {
  const axes = (Array.isArray(value) ? (value as unknown[]) : [value]).map((axis) => parseAxis(axis, rank));
  if (new Set(axes).size !== axes.length) throw new RangeError(`"axis" expected distinct dimensions, got ${describe(axes)}`);
  return axes.filter((axis) => axis < rank);
}
