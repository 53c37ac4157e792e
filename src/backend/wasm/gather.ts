import type { PlanDim } from "../../row-plan.ts";
import type { FloatArray } from "../../tensor.ts";
import type { Runtime } from "./runtime.ts";

// Rows from wherever they lie into module memory, one after the other, and back. Three cases, by what is contiguous:
// whole rows (block copies), columns (block copies, then a transposing kernel), nothing (element by element).

/** Below this many elements a loop beats `TypedArray.set`, which costs about 60 ns however little it copies. */
const MIN_BLOCK_COPY = 32;
/** Below this many rows a loop beats copying columns and transposing them. */
const MIN_TRANSPOSE = 64;

type OperandName = "x" | "bias";

/** Gathers `rows` rows whose first elements lie `rowStride` apart from `base`, to `address`, `pitch` apart. In elements. */
export function gather(
  runtime: Runtime,
  data: FloatArray,
  base: number,
  rows: number,
  rowStride: number,
  cols: readonly PlanDim[],
  operand: OperandName,
  address: number,
  pitch: number,
): void {
  const { memory, kernels } = runtime;
  const heap = data instanceof Float32Array ? memory.f32 : memory.f64;
  const to = address / data.BYTES_PER_ELEMENT;
  const col = cols.length === 1 ? cols[0] : undefined;
  const stride = col?.[operand] ?? 0;
  const count = countOf(cols);
  if (col !== undefined && stride === 1) {
    copyRows(data, base, rowStride, heap, to, pitch, rows, count);
  } else if (col !== undefined && rowStride === 1 && rows >= MIN_TRANSPOSE && data instanceof Float32Array) {
    const mark = memory.mark();
    const inModule = memory.addressOf(data);
    if (inModule >= 0) {
      kernels.transpose_f32(inModule + base * 4, address, count, rows, stride * 4, pitch * 4);
    } else {
      const columns = memory.take(count * rows * 4);
      copyRows(data, base, stride, memory.f32, columns / 4, rows, count, rows);
      kernels.transpose_f32(columns, address, count, rows, rows * 4, pitch * 4);
    }
    memory.release(mark);
  } else {
    copyElements(data, base, rowStride, offsetsOf(cols, operand), heap, to, pitch, rows);
  }
}

/** As `gather`, for the bytes of a mask, without gaps. */
export function gatherBytes(
  runtime: Runtime,
  data: Uint8Array,
  base: number,
  rows: number,
  rowStride: number,
  cols: readonly PlanDim[],
  address: number,
): void {
  const heap = runtime.memory.u8;
  const col = cols.length === 1 ? cols[0] : undefined;
  const count = countOf(cols);
  if (col?.mask === 1) copyRows(data, base, rowStride, heap, address, count, rows, count);
  else copyElements(data, base, rowStride, offsetsOf(cols, "mask"), heap, address, count, rows);
}

/** The reverse of `gather`: rows from `address` to where the result belongs. */
export function scatter(
  runtime: Runtime,
  data: FloatArray,
  base: number,
  rows: number,
  rowStride: number,
  cols: readonly PlanDim[],
  address: number,
  pitch: number,
): void {
  const { memory, kernels } = runtime;
  const from = address / data.BYTES_PER_ELEMENT;
  const col = cols.length === 1 ? cols[0] : undefined;
  const stride = col?.y ?? 0;
  const count = countOf(cols);
  const heap = data instanceof Float32Array ? memory.f32 : memory.f64;
  if (col !== undefined && stride === 1) {
    copyRows(heap, from, pitch, data, base, rowStride, rows, count);
  } else if (col !== undefined && rowStride === 1 && rows >= MIN_TRANSPOSE && data instanceof Float32Array) {
    const mark = memory.mark();
    const inModule = memory.addressOf(data);
    if (inModule >= 0) {
      kernels.transpose_f32(address, inModule + base * 4, rows, count, pitch * 4, stride * 4);
    } else {
      const columns = memory.take(count * rows * 4);
      kernels.transpose_f32(address, columns, rows, count, pitch * 4, rows * 4);
      copyRows(memory.f32, columns / 4, rows, data, base, stride, count, rows);
    }
    memory.release(mark);
  } else {
    const offsets = offsetsOf(cols, "y");
    for (let r = 0; r < rows; r++) {
      const at = base + r * rowStride;
      for (let c = 0; c < count; c++) data[at + (offsets[c] ?? 0)] = heap[from + r * pitch + c] ?? 0;
    }
  }
}

type Numbers = FloatArray | Uint8Array;

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
function offsetsOf(cols: readonly PlanDim[], operand: "x" | "y" | "bias" | "mask"): Int32Array {
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
