import type { Call, Operand, Result } from "./call.ts";

/**
 * How a row's softmax is computed:
 * - `"standard"`: exp(x) / Σ exp(x). Overflows for x > 88.72, and gives NaN where all elements are below −87.33.
 * - `"safe"`: subtracts the row's max first; three passes over the row.
 * - `"online"`: max and sum in one fused pass (Milakov and Gimelshein, arXiv:1805.02867), then normalize.
 * - `"auto"`: the fastest that cannot overflow. Measured over rows of 1 to 4M elements, this is always `"online"`.
 */
export type SoftmaxAlgorithm = "auto" | "standard" | "safe" | "online";

/** An operand with its strides over the input's shape, in elements; 0 along repeated dimensions. */
export interface RowOperand extends Operand {
  readonly strides: readonly number[];
}

/** A checked call of a row operation: scale, then bias, then mask, then the operation. */
export interface RowCall extends Call {
  readonly kind: "rows";
  readonly op: "softmax" | "logSoftmax" | "logSumExp";
  /** Of softmax; "auto" for the others. */
  readonly algorithm: SoftmaxAlgorithm;
  readonly safe: boolean;
  readonly scale: number;
  /** The input's shape. */
  readonly shape: readonly number[];
  /** The reduced dimensions; just one, except for logSumExp. */
  readonly axes: readonly number[];
  readonly operands: { readonly x: RowOperand; readonly bias: RowOperand | undefined; readonly mask: RowOperand | undefined };
  readonly results: { readonly out: Result };
}

/** Converts a result's own strides into strides over the input's dimensions, 0 along reduced ones. */
export function resultStrides({ op, shape, axes, results }: RowCall, strides: readonly number[]): readonly number[] {
  if (op !== "logSumExp") return strides;
  const keepsDims = results.out.shape.length === shape.length;
  let next = 0;
  return shape.map((_, d) => (axes.includes(d) ? ((next += keepsDims ? 1 : 0), 0) : (strides[next++] ?? 0)));
}
