import { describe, expect, test } from "vitest";
import { OPERANDS, type RowPiece, rowGrid, rowKey, spanOf, splitRows, tileRows } from "../../src/backend/webgpu/kernels/row-tiling.ts";
import { heldBy } from "../../src/backend/webgpu/kernels/rows.ts";
import { type RowDim, rowDims } from "../../src/calls/row-dims.ts";
import { contiguousStrides } from "../../src/tensor/shape.ts";
import { fc } from "../support/property.ts";

const NONE = { bias: false, mask: false };

/** The plan of a contiguous tensor. */
function planOf(shape: readonly number[], axis: number) {
  return rowDims(shape, [axis], { x: contiguousStrides(shape), y: contiguousStrides(shape) });
}

describe("how rows are cut", () => {
  test.each([
    // cols, lanes and segments by vectors, chunks
    [4, 1, 1, 1],
    [8, 2, 1, 1],
    [16, 4, 1, 1],
    [64, 8, 1, 1],
    [256, 8, 1, 1],
    [1024, 32, 1, 1],
    [8192, 256, 1, 1],
    [8196, 256, 1, 2],
    [32768, 256, 1, 4],
    [32772, 256, 5, 1],
    [4194304, 256, 512, 1],
  ])("%d columns: %d lanes, %d segments of %d chunks", (cols, lanes, segments, chunks) => {
    expect(tileRows(planOf([7, cols], 1), NONE, true)).toEqual({ vector: true, across: false, laneBits: Math.log2(lanes), segments, chunks });
  });

  test.each([
    [1, 1, 1, 1],
    [3, 1, 1, 1],
    [10, 4, 1, 1],
    [101, 32, 1, 1],
    [257, 64, 1, 1],
    [2047, 256, 1, 1],
    [2049, 256, 1, 2],
    [32767, 256, 1, 16],
    [32769, 256, 5, 4],
  ])("%d columns one by one: %d lanes, %d segments of %d chunks", (cols, lanes, segments, chunks) => {
    expect(tileRows(planOf([7, cols], 1), NONE, true)).toEqual({ vector: false, across: false, laneBits: Math.log2(lanes), segments, chunks });
  });

  test.each([
    [8, 1, 1, 1],
    [19, 4, 1, 1],
    [128, 16, 1, 1],
    [129, 16, 1, 2],
    [2048, 16, 1, 16],
    [2049, 16, 5, 4],
  ])("%d columns across memory: %d lanes, %d segments of %d chunks", (cols, lanes, segments, chunks) => {
    expect(tileRows(planOf([cols, 40], 0), NONE, true)).toEqual({ vector: false, across: true, laneBits: Math.log2(lanes), segments, chunks });
  });

  test("does not depend on other rows", () => {
    for (const cols of [1, 12, 1000, 8192, 40000]) {
      const alone = tileRows(planOf([1, cols], 1), NONE, true);
      for (const rows of [2, 31, 4096]) expect(tileRows(planOf([rows, cols], 1), NONE, true)).toEqual(alone);
    }
  });

  test("four numbers at once only where every row begins at a multiple of four, with nothing else to read", () => {
    const vector = (shape: number[], x: number[], aligned = true, modifiers = NONE): boolean =>
      tileRows(rowDims(shape, [1], { x, y: contiguousStrides(shape) }), modifiers, aligned).vector;
    expect(vector([3, 64], [64, 1])).toBe(true);
    expect(vector([3, 64], [68, 1])).toBe(true);
    expect(vector([3, 64], [0, 1])).toBe(true);
    expect(vector([3, 64], [66, 1])).toBe(false);
    expect(vector([3, 64], [128, 2])).toBe(false);
    expect(vector([3, 64], [1, 3])).toBe(false);
    expect(vector([3, 62], [64, 1])).toBe(false);
    expect(vector([3, 64], [64, 1], false)).toBe(false);
    expect(vector([3, 64], [64, 1], true, { bias: true, mask: false })).toBe(false);
    expect(vector([3, 64], [64, 1], true, { bias: false, mask: true })).toBe(false);
  });

  test("all lanes, chunks and segments together hold a row, and no segment is empty", () => {
    fc.assert(
      fc.property(upTo(22), fc.integer({ min: 1, max: 50 }), fc.boolean(), (cols, rows, along) => {
        const { vector, laneBits, chunks, segments } = tileRows(along ? planOf([rows, cols], 1) : planOf([cols, rows], 0), NONE, true);
        const segment = 2 ** laneBits * heldBy(vector) * chunks;
        expect(segments * segment).toBeGreaterThanOrEqual(cols);
        expect((segments - 1) * segment).toBeLessThan(cols);
        expect(laneBits).toBeLessThanOrEqual(8);
      }),
    );
  });

  test("shuffles only where the lanes of a row are neighbours", () => {
    const along = tileRows(planOf([40, 100], 1), NONE, true);
    const across = tileRows(planOf([100, 40], 0), NONE, true);
    const subgroups = { min: 4, max: 128 };
    expect(rowKey("f32", along, { subgroups }).subgroups).toBe(true);
    expect(rowKey("f32", across, { subgroups }).subgroups).toBe(false);
    expect(rowKey("f32", along, { subgroups: undefined }).subgroups).toBe(false);
  });
});

describe("the grid", () => {
  test("is folded where one dimension does not hold it, with at most a row of workgroups to spare", () => {
    expect(rowGrid(0, 8, 1, 65535)).toEqual([0, 0, 1]);
    expect(rowGrid(65535, 8, 1, 65535)).toEqual([65535, 1, 1]);
    expect(rowGrid(65536, 8, 1, 65535)).toEqual([32768, 2, 1]);
    fc.assert(
      fc.property(upTo(28), fc.integer({ min: 0, max: 8 }), fc.integer({ min: 1, max: 10 }), (rows, laneBits, segments) => {
        const [x, y, z] = rowGrid(rows, laneBits, segments, 65535);
        const needed = Math.ceil(rows / 2 ** (8 - laneBits)) * segments;
        expect(x).toBeLessThanOrEqual(65535);
        expect(z).toBe(1);
        expect(x * y).toBeGreaterThanOrEqual(needed);
        expect(x * y - needed).toBeLessThan(y);
      }),
    );
  });
});

describe("rows that no binding holds at once", () => {
  const limits = (n: number) => ({ x: n, y: n, bias: n, mask: n });

  test("one piece where everything fits", () => {
    const plan = planOf([10, 5], 1);
    expect(splitRows(plan, limits(50))).toEqual([{ rows: plan.rows, rowCount: 10, offset: limits(0), span: { x: 50, y: 50, bias: 1, mask: 1 } }]);
  });

  test("as many rows as fit", () => {
    const pieces = splitRows(planOf([10, 5], 1), limits(20)) as RowPiece[];
    expect(pieces.map((piece) => [piece.rowCount, piece.offset.x, piece.span.x])).toEqual([
      [4, 0, 20],
      [4, 20, 20],
      [2, 40, 10],
    ]);
  });

  test("the row that is too long is told by its operand", () => {
    expect(splitRows(planOf([10, 5], 1), { ...limits(20), y: 4 })).toEqual({ operand: "y", span: 5 });
    expect(splitRows(planOf([5, 10], 0), limits(40))).toEqual({ operand: "x", span: 41 });
  });

  test("pieces cover every row once, within the limits", () => {
    const dims = fc.array(fc.record({ size: fc.integer({ min: 1, max: 6 }), repeated: fc.boolean() }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(dims, fc.nat(3), fc.nat(60), (made, at, spare) => {
        const shape = made.map((dim) => dim.size);
        const x = contiguousStrides(shape);
        const bias = x.map((stride, d) => (made[d]?.repeated === true ? 0 : stride));
        const plan = rowDims(shape, [at % shape.length], { x, y: x, bias, mask: x });
        const most = limits(spanOf(plan.cols).x + spare);
        const pieces = splitRows(plan, most) as RowPiece[];
        const offsets = pieces.flatMap((piece) => {
          for (const operand of OPERANDS) expect(piece.span[operand]).toBeLessThanOrEqual(most[operand]);
          const within = offsetsOf(piece.rows);
          expect(within).toHaveLength(piece.rowCount);
          return within.map((offset) => ({ x: piece.offset.x + offset.x, bias: piece.offset.bias + offset.bias }));
        });
        expect(offsets).toEqual(offsetsOf(plan.rows));
      }),
    );
  });
});

/** Counts of all magnitudes up to 2^`bits`. */
function upTo(bits: number): fc.Arbitrary<number> {
  return fc.integer({ min: 1, max: bits }).chain((b) => fc.integer({ min: 1, max: 2 ** b }));
}

function offsetsOf(dims: readonly RowDim[]): { x: number; bias: number }[] {
  let offsets = [{ x: 0, bias: 0 }];
  for (const dim of dims)
    offsets = offsets.flatMap((at) => Array.from({ length: dim.size }, (_, i) => ({ x: at.x + i * dim.x, bias: at.bias + i * dim.bias })));
  return offsets;
}
