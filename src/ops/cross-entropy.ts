import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planSampling } from "../backend/wasm/plans/sampling.ts";
import { parseInteger, parseLogits, parseResults } from "../calls/sampling-arguments.ts";
import type { CrossEntropyCall, Reduction } from "../calls/sampling-call.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions, parseChoice, parseFlag, parseWithin } from "../errors/options.ts";
import { elementCount, sameShape } from "../tensor/shape.ts";
import { type OutOf, type ShapedArray, type Tensor, type TensorLike, kindOf, toView } from "../tensor/tensor.ts";

/** Classes: an array of integers, one after the other for all rows, or a tensor of i32 in the shape of the rows. */
export type Targets = readonly number[] | Int32Array | ShapedArray<Int32Array>;

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** The dimension of classes; negatives count from the end. Default −1. */
  readonly axis?: number;
  /** A target of rows that do not count. Default −100, as in PyTorch. */
  readonly ignoreIndex?: number;
  /** The share ε of each target that is spread evenly over all classes, from 0 (default) to 1. */
  readonly labelSmoothing?: number;
  /** "mean" (default) over the rows that count, "sum", or "none" for one loss per row. */
  readonly reduction?: Reduction;
  /** Also returns the derivative of the loss by the logits; with "none", of each loss by its row. Default false. */
  readonly returnGrad?: boolean;
  /** Receive the results: tensors of their shapes and dtypes, or typed arrays with as many elements. `grad` may be the logits. */
  readonly out?: OutOf<CrossEntropyResult>;
}

/** What {@link crossEntropy} returns with `returnGrad: true`. */
export interface CrossEntropyResult {
  /** A scalar, or with reduction "none" one number per row. */
  readonly loss: Tensor<"f32">;
  /** In the shape of the logits; zeros in rows that do not count. */
  readonly grad: Tensor<"f32">;
}

const KNOWN = new Set(["axis", "ignoreIndex", "labelSmoothing", "reduction", "returnGrad", "out"]);

/**
 * Cross-entropy of logits with the classes that they should have predicted: log Σ exp(x) − x[target], in natural logarithms. Softmax, its
 * logarithm and the gradient take the passes of one softmax.
 *
 * @param logits - any shape up to eight dimensions, f32
 * @param targets - the class of each row; see {@link Targets}
 * @param options - see {@link CrossEntropyOptions}
 * @returns the loss, a scalar tensor unless reduction is "none"; with `returnGrad` loss and gradient. The mean over no rows is NaN
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for f16 and bf16,
 *   DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is written
 *
 * @example
 * ```ts
 * const { loss, grad } = crossEntropy(new Float32Array([1, 2, 3]), [2], { returnGrad: true });
 * loss.data; // [0.4076]
 * grad.data; // [0.09, 0.2447, -0.3348]
 * ```
 */
export function crossEntropy(logits: TensorLike, targets: Targets, options: CrossEntropyOptions & { readonly returnGrad: true }): CrossEntropyResult;
export function crossEntropy(logits: TensorLike, targets: Targets, options?: CrossEntropyOptions & { readonly returnGrad?: false }): Tensor<"f32">;
export function crossEntropy(logits: TensorLike, targets: Targets, options?: CrossEntropyOptions): Tensor<"f32"> | CrossEntropyResult {
  return compute(defaultRuntime(), planSampling, parseCrossEntropy(logits, targets, options)) as Tensor<"f32"> | CrossEntropyResult;
}

/** Checks the arguments of crossEntropy. @internal */
export function parseCrossEntropy(input: unknown, targets: unknown, options: CrossEntropyOptions = {}): CrossEntropyCall {
  checkOptions(options, KNOWN);
  const { logits, axis, cols } = parseLogits("logits", input, options.axis);
  const rows = logits.shape.filter((_, d) => d !== axis);
  const reduction = parseChoice<Reduction>("reduction", options.reduction, ["mean", "sum", "none"]);
  const ignored = parseInteger("ignoreIndex", options.ignoreIndex ?? -100, -(2 ** 31), 2 ** 31 - 1);
  const loss = { shape: reduction === "none" ? rows : [], dtype: "f32" } as const;
  const grad = { shape: logits.shape, dtype: "f32", inPlace: logits } as const;
  return {
    kind: "sampling",
    op: "crossEntropy",
    axis,
    targets: parseTargets(targets, rows, cols, ignored),
    smoothing: parseWithin("labelSmoothing", options.labelSmoothing, 0, 0, 1),
    reduction,
    operands: { logits },
    results: parseFlag("returnGrad", options.returnGrad)
      ? parseResults(options.out, { loss, grad }, { logits })
      : parseResults(options.out, { loss }, { logits }),
  };
}

/** Copies the targets, row by row, with −1 for those that are ignored. */
function parseTargets(value: unknown, rows: readonly number[], cols: number, ignored: number): Int32Array {
  const count = elementCount(rows);
  const flat = Array.isArray(value) || kindOf(value) === "Int32Array";
  const list = flat ? (value as ArrayLike<unknown>) : elementsOf(value, rows);
  if (list.length !== count) throw new RangeError(`"targets" expected ${count} elements, one per row, got ${list.length}`);
  return Int32Array.from(list, (target) => (target === ignored ? -1 : parseInteger("targets", target, 0, cols - 1)));
}

/** The elements of a tensor, in row-major order. */
function elementsOf(value: unknown, rows: readonly number[]): readonly number[] {
  const { data, shape, strides } = toView("targets", value);
  if (data.dtype !== "i32") throw new TypeError(`"targets" expected dtype i32, got ${data.dtype}`);
  if (!sameShape(shape, rows)) throw new RangeError(`"targets" expected shape ${describe(rows)}, got ${describe(shape)}`);
  const all = data.view() as Int32Array;
  let offsets = [0];
  shape.forEach((size, d) => (offsets = offsets.flatMap((at) => Array.from({ length: size }, (_, i) => at + i * (strides[d] ?? 0)))));
  return offsets.map((at) => all[at] ?? 0);
}
