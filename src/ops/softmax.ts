import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planRows } from "../backend/wasm/plans/rows.ts";
import { computedType, parseInput, parseOutput, parseRowModifiers } from "../calls/arguments.ts";
import type { RowCall, SoftmaxAlgorithm } from "../calls/row-call.ts";
import { checkOptions, parseChoice, parseFlag } from "../errors/options.ts";
import { parseAxis } from "../tensor/shape.ts";
import type { DTypeOf, MaskLike, OutputLike, Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link softmax}. */
export interface SoftmaxOptions {
  /** The dimension that sums to one; negatives count from the end. Default −1. */
  readonly axis?: number;
  /** Default "auto". */
  readonly algorithm?: SoftmaxAlgorithm;
  /** Multiplies the input first; a temperature T is `scale: 1 / T`. Default 1. */
  readonly scale?: number;
  /** Added after scaling. f64 for an f64 input, else f32, f16 or bf16; broadcasts right-aligned to its shape. */
  readonly bias?: TensorLike;
  /**
   * Bytes, nonzero = keep, broadcast right-aligned to the input's shape. A bare Uint8Array has one byte per position of the last
   * dimension; pass other shapes as `tensor(bytes, shape)`. Removed elements get probability 0, whatever their value.
   */
  readonly mask?: MaskLike;
  /** Gives zeros, not NaN, for a row without finite elements. Default false, as in PyTorch, NumPy and ONNX. */
  readonly safe?: boolean;
  /**
   * Receives the result: a tensor of the input's shape in the result's dtype, f16 or bf16, or a typed array with as many elements. May be the input itself. A
   * tensor is returned as it is. For an array, or an object with `dims`, a tensor over its numbers is returned.
   */
  readonly out?: OutputLike;
}

const KNOWN = new Set(["axis", "algorithm", "scale", "bias", "mask", "safe", "out"]);

/**
 * Softmax along one axis: exp(x) / Σ exp(x). Rows sum to one.
 *
 * @param x - any shape up to eight dimensions; f64 (computed in f64), or f32, f16, bf16 or i8 with scales (computed in f32)
 * @param options - see {@link SoftmaxOptions}
 * @returns a tensor of the input's shape and dtype; stored in `out` if given. Probabilities below the smallest normal number are 0
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for bytes without scales,
 *   DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is written
 *
 * @example
 * ```ts
 * const p = softmax(tensor(new Float32Array([1, 2, 3, 4]), [2, 2]));
 * p.data; // [0.2689, 0.7311, 0.2689, 0.7311]
 * ```
 */
export function softmax<T extends TensorLike>(x: T, options?: SoftmaxOptions): Tensor<DTypeOf<T>> {
  return compute(defaultRuntime(), planRows, parseSoftmax(x, options)) as Tensor<DTypeOf<T>>;
}

/** Checks the arguments of softmax. @internal */
export function parseSoftmax(input: unknown, options: SoftmaxOptions = {}): RowCall {
  checkOptions(options, KNOWN);
  const { axis: given = -1 } = options;
  const x = parseInput("x", input);
  const axis = parseAxis(given, x.shape.length);
  const algorithm = parseChoice("algorithm", options.algorithm, ["auto", "standard", "safe", "online"]);
  const safe = parseFlag("safe", options.safe);
  const { scale, bias, mask } = parseRowModifiers(options, x);
  const dtype = computedType(x);
  const out = parseOutput(options.out, x.shape, dtype, x, { bias, mask });
  return {
    kind: "rows",
    op: "softmax",
    algorithm,
    safe,
    scale,
    shape: x.shape,
    axes: [axis],
    operands: { x, bias, mask },
    results: { out: { shape: x.shape, dtype, out } },
  };
}
