/** One dimension, with each operand's stride along it in elements. */
export interface RowDim {
  readonly size: number;
  readonly x: number;
  readonly y: number;
  readonly bias: number;
  readonly mask: number;
}

/** How the rows of a call lie in memory: nested row dimensions, each row spanning the column dimensions. */
export interface RowDims {
  /** Outermost first; empty when there is a single row. */
  readonly rows: readonly RowDim[];
  /** Outermost first; empty when a row is a single element. */
  readonly cols: readonly RowDim[];
  readonly colCount: number;
}

/** Strides of a call's operands over one shape; an absent operand counts as 0 everywhere. */
export interface OperandStrides {
  readonly x: readonly number[];
  readonly y?: readonly number[] | undefined;
  readonly bias?: readonly number[] | undefined;
  readonly mask?: readonly number[] | undefined;
}

/**
 * Splits a shape into rows and columns (the reduced axes), and joins neighbouring dimensions that one stride covers in every
 * operand: a contiguous tensor reduced over its last axis becomes one dimension of rows and one of columns.
 */
export function rowDims(shape: readonly number[], reduced: readonly number[], strides: OperandStrides): RowDims {
  const rows: RowDim[] = [];
  const cols: RowDim[] = [];
  let colCount = 1;
  for (let d = 0; d < shape.length; d++) {
    const size = shape[d] ?? 0;
    const isCol = reduced.includes(d);
    if (isCol) colCount *= size;
    if (size === 1) continue;
    appendDim(isCol ? cols : rows, { size, x: strides.x[d] ?? 0, y: strides.y?.[d] ?? 0, bias: strides.bias?.[d] ?? 0, mask: strides.mask?.[d] ?? 0 });
  }
  return { rows, cols, colCount };
}

/** Adds a dimension inside the others, joined with the last one if one stride covers both in every operand. */
export function appendDim(dims: RowDim[], inner: RowDim): void {
  const outer = dims.at(-1);
  const n = inner.size;
  if (outer?.x === n * inner.x && outer.y === n * inner.y && outer.bias === n * inner.bias && outer.mask === n * inner.mask) {
    dims[dims.length - 1] = { ...inner, size: outer.size * n };
  } else dims.push(inner);
}
