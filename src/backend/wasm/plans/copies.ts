import { type Copyable, type CopyDim, copyStrided } from "../../../tensor/copy-strided.ts";
import { BYTES } from "../../../tensor/array.ts";
import { ROWS } from "../module/rows-family.ts";
import type { Runtime } from "../module/runtime.ts";
import type { Copy } from "./plan.ts";

/** With fewer columns than this, a loop beats copying whole columns and transposing them. */
const MIN_TRANSPOSE = 64;

/** A transposing copy: rows are contiguous in the array, columns in module memory. Distances are in elements. */
interface Crossing {
  readonly rows: number;
  readonly cols: number;
  /** Distance between columns in the array, and between rows in module memory. */
  readonly outside: number;
  readonly inside: number;
  /** The dimensions outside such rows and columns. */
  readonly outer: readonly CopyDim[];
}

/** Copies from an array into module memory. */
export function copyIn(runtime: Runtime, copy: Copy): void {
  const { memory } = runtime;
  const { array, at, address, dims, columns } = copy;
  const bytes = BYTES[array.dtype];
  const crossing = columns === 0 || bytes !== 4 ? undefined : crossingOf(dims);
  if (crossing === undefined) {
    copyStrided(array.view() as unknown as Copyable, at, memory.viewOf(bytes), address / bytes, dims);
    return;
  }
  const { rows, cols, outside, inside, outer } = crossing;
  const inModule = array.addressIn(memory);
  forEachCrossing(outer, at, address / 4, (from, to) => {
    if (inModule >= 0) runtime.load(ROWS).transpose_f32(inModule + from * 4, to * 4, cols, rows, outside * 4, inside * 4);
    else {
      copyStrided(array.view() as unknown as Copyable, from, memory.viewOf(4), columns / 4, columnDims(crossing));
      runtime.load(ROWS).transpose_f32(columns, to * 4, cols, rows, rows * 4, inside * 4);
    }
  });
}

/** Copies out of module memory to an array. */
export function copyOut(runtime: Runtime, copy: Copy): void {
  const { memory } = runtime;
  const { array, at, address, dims, columns } = copy;
  const bytes = BYTES[array.dtype];
  // Views of the same kind: copying between floats and integers would convert.
  const words = array.dtype === "i32" ? memory.i32 : memory.viewOf(bytes);
  const crossing = columns === 0 || bytes !== 4 ? undefined : crossingOf(dims.map(swap));
  if (crossing === undefined) {
    copyStrided(words, address / bytes, array.view() as unknown as Copyable, at, dims);
    return;
  }
  const { rows, cols, outside, inside, outer } = crossing;
  const inModule = array.addressIn(memory);
  forEachCrossing(outer, at, address / 4, (to, from) => {
    if (inModule >= 0) runtime.load(ROWS).transpose_f32(from * 4, inModule + to * 4, rows, cols, inside * 4, outside * 4);
    else {
      runtime.load(ROWS).transpose_f32(from * 4, columns, rows, cols, inside * 4, rows * 4);
      copyStrided(words, columns / 4, array.view() as unknown as Copyable, to, columnDims(crossing).map(swap));
    }
  });
}

function swap({ size, from, to }: CopyDim): CopyDim {
  return { size, from: to, to: from };
}

/** Finds a dimension of rows that is contiguous in the array, and one of columns that is contiguous in module memory. */
function crossingOf(dims: readonly CopyDim[]): Crossing | undefined {
  const real = dims.filter(({ size }) => size !== 1);
  const rows = real.find(({ from, to }) => from === 1 && to !== 0);
  const cols = real.find(({ from, to }) => to === 1 && from !== 0);
  if (rows === undefined || cols === undefined || rows === cols || rows.size < MIN_TRANSPOSE) return undefined;
  const outer = real.filter((dim) => dim !== rows && dim !== cols && dim.to !== 0);
  return { rows: rows.size, cols: cols.size, outside: cols.from, inside: rows.to, outer };
}

/** Visits the dimensions outside of rows and columns: elements in the array and in module memory. */
function forEachCrossing(outer: readonly CopyDim[], at: number, inside: number, visit: (outside: number, inside: number) => void): void {
  const [dim, ...others] = outer;
  if (dim === undefined) visit(at, inside);
  else for (let i = 0; i < dim.size; i++) forEachCrossing(others, at + i * dim.from, inside + i * dim.to, visit);
}

/** The columns of a crossing copy, one after the other. */
function columnDims({ rows, cols, outside }: Crossing): CopyDim[] {
  return [
    { size: cols, from: outside, to: rows },
    { size: rows, from: 1, to: 1 },
  ];
}
