import type { Call, Operand, Result } from "./call.ts";

/** One matrix, or one for each combination of a call's outer dimensions. Strides are in elements. */
export interface MatrixOperand extends Operand {
  /** Along the outer dimensions; 0 where the matrix repeats. */
  readonly outer: readonly number[];
  /** From one row to the next. The rows of the second operand become the columns of the result. */
  readonly row: number;
  /** Along the dimension that is summed over. */
  readonly depth: number;
}

/** A vector that is added to each row of the result. */
export interface VectorOperand extends Operand {
  readonly stride: number;
}

/** A checked call of linear or matmul: for each combination of the outer dimensions, the products of all rows of two matrices. */
export interface ProductCall extends Call {
  readonly kind: "product";
  readonly op: "linear" | "matmul";
  readonly outer: readonly number[];
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly operands:
    | { readonly x: MatrixOperand; readonly weight: MatrixOperand; readonly bias: VectorOperand | undefined }
    | { readonly a: MatrixOperand; readonly b: MatrixOperand };
  readonly results: { readonly out: Result };
}

/** What a call multiplies, and what it adds. */
export function factorsOf({ operands }: ProductCall): {
  readonly left: MatrixOperand;
  readonly right: MatrixOperand;
  readonly bias: VectorOperand | undefined;
} {
  if ("a" in operands) return { left: operands.a, right: operands.b, bias: undefined };
  return { left: operands.x, right: operands.weight, bias: operands.bias };
}
