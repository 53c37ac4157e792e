/** One dimension with the stride, in elements, of each operand along it. */
export interface PlanDim {
  readonly size: number;
  readonly x: number;
  readonly y: number;
  readonly bias: number;
  readonly mask: number;
}

/** How the rows of a call lie in memory: nested row dimensions, each row spanning the column dimensions. */
export interface RowPlan {
  /** Outermost first; empty when there is a single row. */
  readonly rows: readonly PlanDim[];
  /** Outermost first; empty when a row is a single element. */
  readonly cols: readonly PlanDim[];
  readonly colCount: number;
}

/** Strides of a call's operands over the same shape; an absent one counts as 0 everywhere. */
export interface OperandStrides {
  readonly x: readonly number[];
  readonly y?: readonly number[] | undefined;
  readonly bias?: readonly number[] | undefined;
  readonly mask?: readonly number[] | undefined;
}

/**
 * Splits a shape into rows and columns (the reduced axes), and joins neighbouring dimensions that every operand walks with
 * one stride: a contiguous tensor reduced over its last axis becomes one dimension of rows and one of columns.
 */
export function planRows(shape: readonly number[], reduced: readonly number[], strides: OperandStrides): RowPlan {
  const rows: PlanDim[] = [];
  const cols: PlanDim[] = [];
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

/** Adds a dimension inside the others, joined with the last one where every operand walks both with one stride. */
export function appendDim(dims: PlanDim[], inner: PlanDim): void {
  const outer = dims.at(-1);
  const n = inner.size;
  if (outer?.x === n * inner.x && outer.y === n * inner.y && outer.bias === n * inner.bias && outer.mask === n * inner.mask) {
    dims[dims.length - 1] = { ...inner, size: outer.size * n };
  } else dims.push(inner);
}
