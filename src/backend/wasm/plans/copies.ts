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
  if (array.isNarrow) {
    widen(runtime, copy);
    return;
  }
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
  if (array.isNarrow) {
    runtime.load(ROWS)[array.dtype === "f16" ? "f16_from_f32" : "bf16_from_f32"](address, address, extentOf(dims, "from"));
    copyStrided(memory.viewOf(2), address / 2, array.view() as unknown as Copyable, at, dims);
    return;
  }
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

/** How many elements a copy spans on one side, from the first to the last. */
function extentOf(dims: readonly CopyDim[], side: "from" | "to"): number {
  return dims.reduce((extent, dim) => (dim.size === 0 ? 0 : extent + (dim.size - 1) * dim[side]), 1);
}

/**
 * Copies from narrow storage into f32 in module memory. The numbers go to the end of their place first, as they are, and are converted
 * from there; what lies between them is converted as well.
 */
function widen(runtime: Runtime, { array, at, address, dims }: Copy): void {
  if (dims.some(({ size }) => size === 0)) return;
  const { memory } = runtime;
  const kernels = runtime.load(ROWS);
  const { dtype, scales } = array;
  const extent = extentOf(dims, "to");
  const bytes = BYTES[dtype];
  let from = address + (4 - bytes) * extent;
  // In module memory, numbers that lie there as they will can be converted at once.
  if (array.owner === memory && dims.every((dim) => dim.size === 1 || dim.from === dim.to)) from = array.byteOffset + at * bytes;
  else copyStrided(array.view() as unknown as Copyable, at, bytes === 2 ? memory.viewOf(2) : memory.i8, from / bytes, dims);
  if (scales === undefined) {
    kernels[dtype === "f16" ? "f32_from_f16" : "f32_from_bf16"](from, address, extent);
    return;
  }
  const { data, rowLength } = scales;
  const run = dims.find((dim) => dim.from === 1 && dim.to === 1) ?? ONE;
  const rows = dims.map((dim) =>
    dim === run ? { size: dim.size / rowLength, from: 1, to: 1 } : { size: dim.size, from: dim.from / rowLength, to: dim.to / rowLength },
  );
  const areRows = at % rowLength === 0 && rows.every(({ size, from, to }) => size === 1 || [size, from, to].every(Number.isInteger));
  if (run !== ONE && areRows) {
    const mark = memory.mark();
    const scalesAt = memory.take((extent / rowLength) * 4);
    copyStrided(data.view() as unknown as Copyable, at / rowLength, memory.f32, scalesAt / 4, rows);
    kernels.f32_from_i8(from, address, extent / rowLength, rowLength, scalesAt);
    memory.release(mark);
    return;
  }
  // Rows of the call that are not those of the scales: each number finds its own.
  const mark = memory.mark();
  const one = memory.take(4);
  memory.f32[one / 4] = 1;
  kernels.f32_from_i8(from, address, 1, extent, one);
  memory.release(mark);
  scaleEach(data.view() as Float32Array, rowLength, at, memory.f32, address / 4, dims, 0);
}

const ONE: CopyDim = { size: 1, from: 1, to: 1 };

/** Multiplies each number of a copy by the scale of its row. */
function scaleEach(scales: Float32Array, rowLength: number, s: number, dst: Float32Array, t: number, dims: readonly CopyDim[], d: number): void {
  const dim = dims[d];
  if (dim === undefined) dst[t] = (dst[t] ?? 0) * (scales[Math.floor(s / rowLength)] ?? 0);
  else if (dim.to === 0) scaleEach(scales, rowLength, s, dst, t, dims, d + 1);
  else for (let i = 0; i < dim.size; i++) scaleEach(scales, rowLength, s + i * dim.from, dst, t + i * dim.to, dims, d + 1);
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
