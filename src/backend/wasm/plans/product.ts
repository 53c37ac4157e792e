import { type MatrixOperand, type ProductCall, factorsOf } from "../../../calls/product-call.ts";
import { type RowDim, rowDims } from "../../../calls/row-dims.ts";
import type { ArrayHandle } from "../../../tensor/array.ts";
import { elementCount } from "../../../tensor/shape.ts";
import { LINEAR } from "../module/linear-family.ts";
import { type Copy, type KernelCall, Layout, type Planner, type Stage, type Task } from "./plan.ts";
import { MULTIPLY_ADD_NS, cutRows, workPerTask } from "./schedule.ts";

/** Copied rows of the first operand may take this many bytes, because columns are copied anew for each such block of rows. */
const LEFT_BYTES = 1 << 22;
/** Gap between rows that are copied by transposing, in elements: with a power of two as pitch, they would hit one cache set. */
const CROSSING_GAP = 16;

/** A matrix as the plan sees it: used in place if its rows are contiguous in module memory, else copied. */
interface Matrix {
  readonly data: ArrayHandle;
  /** Its address in module memory, or −1. */
  readonly address: number;
  readonly row: number;
  readonly depth: number;
  /** Elements from one copied row to the next. */
  readonly pitch: number;
}

/** Some rows and columns of some products. */
interface Box {
  readonly items: readonly Item[];
  readonly row: number;
  readonly rows: number;
  readonly col: number;
  readonly cols: number;
}

/** Where a product's matrices begin, in elements. */
interface Item {
  readonly left: number;
  readonly right: number;
  readonly out: number;
}

/** Plans matrix products: a stage has some rows and columns of one product, or several whole products. */
export const planProduct: Planner<ProductCall> = (call, { out }, machine) => {
  if (out === undefined) throw new Error("a product has one result");
  const { memory, divides, threads, tuning, stageBytes } = machine;
  const { cols, depth } = call;
  const { left: a, right: b, bias } = factorsOf(call);
  const [outRow = 0, outCol = 0] = [out.strides.at(-2), out.strides.at(-1)];

  // All leading dimensions that one stride covers are rows, unless the second operand changes along them.
  const { rows: dims } = rowDims([...call.outer, call.rows], [], {
    x: [...a.outer, a.row],
    y: [...out.strides.slice(0, call.outer.length), outRow],
    bias: [...b.outer, 0],
  });
  const inner = dims.at(-1);
  const rowDim: RowDim = inner?.bias === 0 ? inner : { size: 1, x: 0, y: 0, bias: 0, mask: 0 };
  const outer = inner?.bias === 0 ? dims.slice(0, -1) : dims;
  const rows = rowDim.size;
  const count = elementCount(outer.map(({ size }) => size));

  const matrix = ({ data, depth: step }: MatrixOperand, row: number): Matrix => {
    const address = step === 1 || depth <= 1 ? data.addressIn(memory) : -1;
    return { data, address, row, depth: step, pitch: step === 1 ? depth : depth + CROSSING_GAP };
  };
  const [left, right] = [matrix(a, rowDim.x), matrix(b, b.row)];
  const outAt = outCol === 1 || cols === 1 ? out.data.addressIn(memory) : -1;
  const biasAt = bias === undefined ? 0 : bias.stride === 1 ? bias.data.addressIn(memory) : -1;

  const bytesOf = ({ address, pitch }: Matrix, n: number): number => (address < 0 ? n * pitch * 4 : 0);
  const resultBytes = (n: number): number => (outAt < 0 ? n * 4 : 0);
  const fitting = (bytes: number, each: number, most: number): number => (each === 0 ? most : Math.max(1, Math.min(most, Math.floor(bytes / each))));
  const boxRows = fitting(Math.max(stageBytes, LEFT_BYTES), bytesOf(left, 1), rows);
  const boxCols = fitting(stageBytes, bytesOf(right, 1) + resultBytes(boxRows), cols);
  const whole = boxRows === rows && boxCols === cols;
  const boxItems = whole ? fitting(stageBytes, bytesOf(left, rows) + bytesOf(right, cols) + resultBytes(rows * cols), count) : 1;

  const layout = new Layout();
  const leftAt = layout.take(boxItems * bytesOf(left, boxRows));
  const rightAt = layout.take(boxItems * bytesOf(right, boxCols));
  const resultAt = layout.take(boxItems * resultBytes(boxRows * boxCols));
  const biasCopy = layout.take(biasAt < 0 ? cols * 4 : 0);
  const crossing = [left, right].some(({ address, depth }) => address < 0 && depth !== 1);
  const columnsAt = layout.take(crossing ? Math.max(boxRows, boxCols) * depth * 4 : 0);

  const stageOf = (base: number, box: Box, before: Box | undefined): Stage => {
    const into: Copy[] = [];
    if (bias !== undefined && biasAt < 0 && before === undefined)
      into.push({ array: bias.data, at: 0, address: base + biasCopy, dims: [{ size: cols, from: bias.stride, to: 1 }], columns: 0 });
    /** The address of some rows of a matrix. They are copied, unless they are still there. */
    const place = ({ data, address, row, depth: step, pitch }: Matrix, at: number, n: number, slot: number, stays: boolean): number => {
      if (address >= 0) return address + at * 4;
      const dims = [
        { size: depth, from: step, to: 1 },
        { size: n, from: row, to: pitch },
      ];
      if (!stays) into.push({ array: data, at, address: slot, dims, columns: crossing ? base + columnsAt : 0 });
      return slot;
    };
    const outOf: Copy[] = [];
    const products = box.items.map((item, i) => {
      const old = before?.items[i];
      const x = place(
        left,
        item.left + box.row * left.row,
        box.rows,
        base + leftAt + i * bytesOf(left, boxRows),
        old?.left === item.left && before?.row === box.row,
      );
      const w = place(
        right,
        item.right + box.col * right.row,
        box.cols,
        base + rightAt + i * bytesOf(right, boxCols),
        old?.right === item.right && before?.col === box.col,
      );
      const at = item.out + box.row * rowDim.y + box.col * outCol;
      const y = outAt < 0 ? base + resultAt + i * boxRows * boxCols * 4 : outAt + at * 4;
      const dims = [
        { size: box.cols, from: 1, to: outCol },
        { size: box.rows, from: box.cols, to: rowDim.y },
      ];
      if (outAt < 0) outOf.push({ array: out.data, at, address: y, dims, columns: 0 });
      return { x, w, y };
    });
    const [xStride, wStride] = [left, right].map(({ address, row, pitch }) => (address < 0 ? pitch : row) * 4) as [number, number];
    const yStride = (outAt < 0 ? box.cols : rowDim.y) * 4;
    const biasRow = (biasAt < 0 ? base + biasCopy : biasAt) + box.col * 4;
    /** Some rows and columns of a product in this stage. */
    const multiply = (i: number, row: number, n: number, col: number, m: number): KernelCall => {
      const { x, w, y } = products[i] ?? { x: 0, w: 0, y: 0 };
      const args = [
        x + row * xStride,
        xStride,
        w + col * wStride,
        wStride,
        y + row * yStride + col * 4,
        yStride,
        n,
        m,
        depth,
        biasRow + col * 4,
        bias === undefined ? 0 : 1,
      ];
      return { kernel: "linear_f32", args, relative: 0 };
    };
    // Cut along the longer side: what all parts read is then the shorter one.
    const byRows = box.rows > box.cols;
    const [length, across] = byRows ? [box.rows, box.cols] : [box.cols, box.rows];
    const partNs = Math.max(across * depth * MULTIPLY_ADD_NS, 1e-3);
    const least = divides ? workPerTask(products.length * length * partNs, threads, tuning) / partNs : Infinity;
    const parts = cutRows(
      products.map(() => length),
      least,
      threads * tuning.share,
    );
    const tasks = parts.map((task): Task => ({
      calls: task.map(({ segment, from, to }) => (byRows ? multiply(segment, from, to - from, 0, box.cols) : multiply(segment, 0, box.rows, from, to - from))),
    }));
    return { tables: [], in: into, tasks, out: outOf };
  };

  return {
    families: [LINEAR],
    stageBytes: layout.bytes,
    threadBytes: 0,
    stages: (base) => {
      const boxes = boxesOf(outer, count, boxItems, rows, boxRows, cols, boxCols);
      let before: Box | undefined;
      return () => {
        const { value: box } = boxes.next();
        const stage = box && stageOf(base, box, before);
        before = box;
        return stage;
      };
    },
  };
};

/** Cuts products into boxes, so that what is copied for one often serves the next: first along columns, then along rows. */
function* boxesOf(
  outer: readonly RowDim[],
  count: number,
  items: number,
  rows: number,
  boxRows: number,
  cols: number,
  boxCols: number,
): Generator<Box, undefined> {
  for (let first = 0; first < count; first += items) {
    const some = Array.from({ length: Math.min(items, count - first) }, (_, i) => itemAt(outer, first + i));
    for (let row = 0; row < rows; row += boxRows) {
      for (let col = 0; col < cols; col += boxCols) yield { items: some, row, rows: Math.min(boxRows, rows - row), col, cols: Math.min(boxCols, cols - col) };
    }
  }
}

/** The product with a given number, in row-major order of the outer dimensions. */
function itemAt(outer: readonly RowDim[], index: number): Item {
  let [left, right, out] = [0, 0, 0];
  for (let d = outer.length - 1; d >= 0; d--) {
    const dim = outer[d];
    if (dim === undefined) continue;
    const i = index % dim.size;
    index = Math.floor(index / dim.size);
    left += i * dim.x;
    right += i * dim.bias;
    out += i * dim.y;
  }
  return { left, right, out };
}
