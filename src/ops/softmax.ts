import { runRowCall } from "../backend/wasm/plans/row-calls.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { checkOptions, parseChoice, parseFlag } from "../errors/options.ts";
import { computedType, parseInput, parseOutput, parseRowModifiers } from "../calls/arguments.ts";
import type { RowCall, SoftmaxAlgorithm } from "../calls/row-call.ts";
import { parseAxis } from "../tensor/shape.ts";
import type { MaskLike, DTypeOf, Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link softmax}. */
export interface SoftmaxOptions {
  /** The dimension that sums to one; negatives count from the end. Default −1. */
  readonly axis?: number;
  /** Default "auto". */
  readonly algorithm?: SoftmaxAlgorithm;
  /** Multiplies the input first; a temperature T is `scale: 1 / T`. Default 1. */
  readonly scale?: number;
  /** Added after scaling; the input's dtype, broadcast right-aligned to its shape. */
  readonly bias?: TensorLike;
  /**
   * Bytes, not zero = keep, broadcast right-aligned to the input's shape: a bare Uint8Array has one byte for each place of the last
   * dimension, other shapes come as `tensor(bytes, shape)`. Removed elements get probability 0, whatever they are.
   */
  readonly mask?: MaskLike;
  /** Gives zeros, not NaN, for a row without any finite element. Default false, as PyTorch, NumPy and ONNX. */
  readonly safe?: boolean;
  /**
   * Where the result goes: the input's shape and dtype, or a typed array of as many elements. May be the input itself. A tensor is
   * returned as it is; where this is an array, or has `dims`, a tensor over its numbers is.
   */
  readonly out?: TensorLike;
}

const KNOWN = new Set(["axis", "algorithm", "scale", "bias", "mask", "safe", "out"]);

/**
 * Softmax along one axis: exp(x) / Σ exp(x), rows summing to one.
 *
 * @param x - any shape up to eight dimensions, f32 (computed in f32) or f64 (in f64)
 * @param options - see {@link SoftmaxOptions}
 * @returns a tensor of the input's shape and dtype; over `out` when given
 * @throws TypeError if an argument is of the wrong kind, RangeError if a value or shape does not fit, UnsupportedError for what the CPU
 *   does not compute (f16 and bf16), DisposedError for a tensor after its `dispose()`, BackendError if memory is exhausted; nothing is
 *   written then
 *
 * @example
 * ```ts
 * const p = softmax(tensor(new Float32Array([1, 2, 3, 4]), [2, 2]));
 * p.data; // [0.2689, 0.7311, 0.2689, 0.7311]
 * ```
 */
export function softmax<T extends TensorLike>(x: T, options?: SoftmaxOptions): Tensor<DTypeOf<T>> {
  return softmaxOn(defaultRuntime(), x, options) as Tensor<DTypeOf<T>>;
}

/** Softmax on a given instance of the kernels. @internal */
export function softmaxOn(runtime: Runtime, x: TensorLike, options?: SoftmaxOptions): Tensor<"f32" | "f64"> {
  return runRowCall(runtime, parseSoftmax(x, options));
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
  const out = parseOutput(options.out, x.shape, computedType(x), x, { bias: bias?.data, mask: mask?.data });
  return { op: "softmax", algorithm, safe, scale, bias, mask, x, axes: [axis], shape: x.shape, out };
}
