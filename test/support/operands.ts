import type { MaskLike } from "../../src/tensor/tensor.ts";
import type { SoftmaxAlgorithm } from "../../src/calls/row-call.ts";
import type { OutputLike, Tensor, TensorLike } from "../../src/index.ts";
import type { Instance } from "../../src/testing/testing.ts";
import * as reference from "../reference/rows.ts";
import type { Awaitable, Subject } from "./subjects.ts";
import type { FloatType, Op } from "./tolerances.ts";

export const ALGORITHMS: readonly SoftmaxAlgorithm[] = ["standard", "safe", "online", "auto"];
export const OPS: readonly Op[] = ["softmax", "logSoftmax", "logSumExp"];

/** Options that all three operations have. */
export interface CommonOptions {
  readonly axis?: number;
  readonly scale?: number;
  readonly bias?: TensorLike;
  readonly mask?: MaskLike;
  readonly safe?: boolean;
  readonly out?: OutputLike;
}

/** Calls an operation by name. `logSumExp` has no `safe` because it needs none. */
export function call(instance: Instance, op: Op, x: TensorLike, options: CommonOptions): Tensor<FloatType>;
export function call(subject: Subject, op: Op, x: TensorLike, options: CommonOptions): Awaitable<Tensor<FloatType>>;
export function call(subject: Subject | Instance, op: Op, x: TensorLike, { safe, ...options }: CommonOptions): Awaitable<Tensor<FloatType>> {
  return op === "logSumExp" ? subject.logSumExp(x, options) : subject[op](x, { ...options, ...(safe === undefined ? {} : { safe }) });
}

/** The reference's result; `axis` may be negative here too. */
export function expected(
  op: Op,
  values: ArrayLike<number>,
  shape: readonly number[],
  options: Omit<reference.ReferenceOptions, "axes"> & { axis: number },
): Float64Array {
  const { axis, ...rest } = options;
  return reference[op]({ values, shape }, { ...rest, axes: axesOf([axis], shape.length) });
}

/** Axes in the reference's form: not negative, and none for a scalar. */
export function axesOf(axes: readonly number[], rank: number): number[] {
  return rank === 0 ? [] : axes.map((axis) => (axis < 0 ? axis + rank : axis));
}

/** What is left of a shape after reducing `axes`. */
export function reducedShape(shape: readonly number[], axes: readonly number[], keepDims = false): number[] {
  const reduced = axesOf(axes, shape.length);
  return shape.map((size, d) => (reduced.includes(d) ? 1 : size)).filter((_, d) => keepDims || !reduced.includes(d));
}
