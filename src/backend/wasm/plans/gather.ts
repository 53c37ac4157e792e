import type { PlanDim } from "../../../calls/row-dims.ts";
import type { FloatArray } from "../../../tensor/tensor.ts";
import { ROWS } from "../module/rows-family.ts";
import type { Runtime } from "../module/runtime.ts";

// Rows from wherever they lie into module memory, one after the other, and back. Three cases, by what is contiguous:
// whole rows (block copies), columns (block copies, then a transposing kernel), nothing (element by element).

/** Below this many elements a loop beats `TypedArray.set`, which costs about 60 ns however little it copies. */
const MIN_BLOCK_COPY = 32;
/** Below this many rows a loop beats copying columns and transposing them. */
const MIN_TRANSPOSE = 64;

type Numbers = FloatArray | Uint8Array;

/** Rows anywhere: `rows` of them, their first elements `rowStride` apart from `base`, each spanning `cols`. In elements. */
export interface OutsideRows<A extends Numbers = Numbers> {
  readonly data: A;
  readonly base: number;
  readonly rows: number;
  readonly rowStride: number;
  readonly cols: readonly PlanDim[];
  /** Whose strides of `cols` apply. */
  readonly operand: "x" | "y" | "bias" | "mask";
}

/** Rows in scratch, one after the other, `pitch` elements apart. */
export interface ScratchRows {
  readonly address: number;
  readonly pitch: number;
  /** Address of room for transposing, as many elements as the rows hold; 0 if nothing crosses the memory order. */
  readonly columns: number;
}

/** Copies rows into scratch. */
export function gather(runtime: Runtime, from: OutsideRows, to: ScratchRows): void {
  const { memory } = runtime;
  const { data, base, rows, rowStride } = from;
  const heap = heapOf(memory, data);
  const at = to.address / data.BYTES_PER_ELEMENT;
  const stride = singleStride(from);
  const count = countOf(from.cols);
  if (stride === 1) {
    copyRows(data, base, rowStride, heap, at, to.pitch, rows, count);
  } else if (transposes(from, to, stride)) {
    const kernels = runtime.load(ROWS);
    const inModule = memory.addressOf(data);
    if (inModule >= 0) kernels.transpose_f32(inModule + base * 4, to.address, count, rows, stride * 4, to.pitch * 4);
    else {
      copyRows(data, base, stride, heap, to.columns / 4, rows, count, rows);
      kernels.transpose_f32(to.columns, to.address, count, rows, rows * 4, to.pitch * 4);
    }
  } else copyElements(data, base, rowStride, offsetsOf(from), heap, at, to.pitch, rows);
}

/** Copies rows out of scratch to where a result belongs. */
export function scatter(runtime: Runtime, from: ScratchRows, to: OutsideRows): void {
  const { memory } = runtime;
  const { data, base, rows, rowStride } = to;
  const heap = heapOf(memory, data);
  const at = from.address / data.BYTES_PER_ELEMENT;
  const stride = singleStride(to);
  const count = countOf(to.cols);
  if (stride === 1) {
    copyRows(heap, at, from.pitch, data, base, rowStride, rows, count);
  } else if (transposes(to, from, stride)) {
    const kernels = runtime.load(ROWS);
    const inModule = memory.addressOf(data);
    if (inModule >= 0) kernels.transpose_f32(from.address, inModule + base * 4, rows, count, from.pitch * 4, stride * 4);
    else {
      kernels.transpose_f32(from.address, from.columns, rows, count, from.pitch * 4, rows * 4);
      copyRows(heap, from.columns / 4, rows, data, base, stride, count, rows);
    }
  } else {
    const offsets = offsetsOf(to);
    for (let r = 0; r < rows; r++) {
      const row = base + r * rowStride;
      for (let c = 0; c < count; c++) data[row + (offsets[c] ?? 0)] = heap[at + r * from.pitch + c] ?? 0;
    }
  }
}

function heapOf(memory: Runtime["memory"], data: Numbers): Numbers {
  // By size, not by class: arrays may come from another realm.
  return data.BYTES_PER_ELEMENT === 4 ? memory.f32 : data.BYTES_PER_ELEMENT === 1 ? memory.u8 : memory.f64;
}

/** The stride along the columns when they are one dimension, else 0. */
function singleStride({ cols, operand }: OutsideRows): number {
  return cols.length === 1 ? (cols[0]?.[operand] ?? 0) : 0;
}

/** Whether columns are contiguous and long enough to be copied as such. */
function transposes({ data, rows, rowStride }: OutsideRows, { columns }: ScratchRows, stride: number): boolean {
  return columns !== 0 && stride !== 0 && rowStride === 1 && rows >= MIN_TRANSPOSE && data.BYTES_PER_ELEMENT === 4;
}

/** `rows` runs of `count` neighbours. */
function copyRows(src: Numbers, srcAt: number, srcStride: number, dst: Numbers, dstAt: number, dstStride: number, rows: number, count: number): void {
  if (srcStride === count && dstStride === count) {
    count *= rows;
    rows = 1;
  }
  for (let r = 0; r < rows; r++) {
    const s = srcAt + r * srcStride;
    const d = dstAt + r * dstStride;
    if (count < MIN_BLOCK_COPY) for (let i = 0; i < count; i++) dst[d + i] = src[s + i] ?? 0;
    else dst.set(src.subarray(s, s + count), d);
  }
}

/** One by one, the shorter stride innermost so that reads stay close together. */
function copyElements(src: Numbers, base: number, rowStride: number, offsets: Int32Array, dst: Numbers, to: number, pitch: number, rows: number): void {
  const count = offsets.length;
  if (count > 1 && rowStride < (offsets[1] ?? 0)) {
    for (let c = 0; c < count; c++) {
      const at = base + (offsets[c] ?? 0);
      for (let r = 0; r < rows; r++) dst[to + r * pitch + c] = src[at + r * rowStride] ?? 0;
    }
  } else {
    for (let r = 0; r < rows; r++) {
      const at = base + r * rowStride;
      for (let c = 0; c < count; c++) dst[to + r * pitch + c] = src[at + (offsets[c] ?? 0)] ?? 0;
    }
  }
}

/** The distance of every element of a row from its first. */
function offsetsOf({ cols, operand }: OutsideRows): Int32Array {
  const offsets = new Int32Array(countOf(cols));
  let filled = 1;
  for (let d = cols.length - 1; d >= 0; d--) {
    const dim = cols[d];
    if (dim === undefined) continue;
    for (let i = 1; i < dim.size; i++) {
      for (let j = 0; j < filled; j++) offsets[i * filled + j] = i * dim[operand] + (offsets[j] ?? 0);
    }
    filled *= dim.size;
  }
  return offsets;
}

function countOf(cols: readonly PlanDim[]): number {
  let count = 1;
  for (const dim of cols) count *= dim.size;
  return count;
}
