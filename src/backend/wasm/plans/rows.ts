import type { RowPlan } from "../../../calls/row-dims.ts";
import type { FloatArray } from "../../../tensor/tensor.ts";
import { gather, scatter } from "./gather.ts";
import type { RowKernelName } from "../module/kernels.ts";
import { ROWS } from "../module/rows-family.ts";
import type { Runtime } from "../module/runtime.ts";

/** A row operation ready to run: everything checked, `y` allocated. */
export interface RowOperation {
  readonly plan: RowPlan;
  readonly dtype: "f32" | "f64";
  readonly x: FloatArray;
  readonly y: FloatArray;
  /** Whether a row gives one number instead of a row. */
  readonly reduces: boolean;
  readonly scale: number;
  readonly bias: FloatArray | undefined;
  readonly mask: Uint8Array | undefined;
  readonly kernel: RowKernelName;
  /** The kernel's seventh argument where that is not scratch, for the first row, and what to add to it for the next. */
  readonly operand?: number | undefined;
  readonly operandStride?: number;
  /** 0 or 1. */
  readonly safe: number;
  /** Scratch bytes that the kernel wants. */
  readonly scratchBytes: number;
}

/** Elements that travel through scratch at a time: input and output stay in the second-level cache between the copies. */
export const CHUNK_ELEMENTS = 1 << 16;
/** Rows that lie across the memory order are gathered so many at a time, so that reads come in runs, … */
const CROSSING_ROWS = 256;
/** … unless they are so long that this many elements are exceeded. */
const MAX_CROSSING_ELEMENTS = 1 << 21;
/** Gap, in elements, between crossing rows in scratch: at a pitch of a power of two, transposing would hit one cache set. */
const CROSSING_GAP = 16;

/** How rows that are copied travel: how far apart they lie in scratch, and how many at a time. */
export function pacing({ rows, cols, colCount }: RowPlan): { readonly crossing: boolean; readonly pitch: number; readonly chunkRows: number } {
  const col = cols.length === 1 ? cols[0] : undefined;
  const inner = rows.at(-1) ?? { x: 0, y: 0 };
  const crossing = inner.x < (col?.x ?? 0) || inner.y < (col?.y ?? 0);
  const fitting = (elements: number): number => Math.max(1, Math.floor(elements / Math.max(colCount, 1)));
  const chunkRows = crossing ? Math.max(fitting(CHUNK_ELEMENTS), Math.min(CROSSING_ROWS, fitting(MAX_CROSSING_ELEMENTS))) : fitting(CHUNK_ELEMENTS);
  return { crossing, pitch: crossing ? colCount + CROSSING_GAP : colCount, chunkRows };
}

/**
 * Runs a row operation. Rows that lie in module memory one after the other are used in place; all others are gathered into
 * scratch, chunk by chunk, so scratch does not grow with the number of rows.
 */
export function runRows(runtime: Runtime, job: RowOperation): void {
  const { plan, reduces } = job;
  const { memory } = runtime;
  const kernels = runtime.load(ROWS);
  const cols = plan.colCount;
  const size = job.dtype === "f32" ? 4 : 8;
  const col = plan.cols.length === 1 ? plan.cols[0] : undefined;
  const inner = plan.rows.at(-1) ?? { size: 1, x: 0, y: 0, bias: 0, mask: 0 };
  const modified = job.bias !== undefined || job.mask !== undefined || job.scale !== 1;
  const xInModule = memory.addressOf(job.x) >= 0 && (cols <= 1 || col?.x === 1);
  const yInModule = memory.addressOf(job.y) >= 0 && (reduces || cols <= 1 || col?.y === 1);
  const gathers = !xInModule || !yInModule || modified;
  const { crossing, pitch, chunkRows } = pacing(plan);
  const chunk = gathers ? Math.min(inner.size, chunkRows) : inner.size;

  const held = { x: memory.hold(job.x), y: memory.hold(job.y), bias: job.bias && memory.hold(job.bias), mask: job.mask && memory.hold(job.mask) };
  const mark = memory.mark();
  try {
    const scratch = memory.take(job.scratchBytes);
    const needsRows = !xInModule || (modified && (reduces || !yInModule)) || (!reduces && !yInModule);
    const rowsAt = needsRows ? memory.take(chunk * pitch * size) : 0;
    const resultsAt = reduces && !yInModule ? memory.take(chunk * size) : 0;
    const biasAt = job.bias !== undefined ? memory.take((inner.bias === 0 ? 1 : chunk) * cols * size) : 0;
    const maskAt = job.mask !== undefined ? memory.take((inner.mask === 0 ? 1 : chunk) * cols) : 0;
    const columns = crossing && gathers ? memory.take(chunk * cols * size) : 0;
    const [x, y, bias, mask] = [held.x(), held.y(), held.bias?.(), held.mask?.()];
    const { operandStride = 0 } = job;
    let operand = job.operand ?? scratch;
    const xBase = memory.addressOf(x);
    const yBase = memory.addressOf(y);

    forEachOuterRow(plan, (xAt, yAt, bAt, mAt) => {
      for (let r = 0; r < inner.size; r += chunk) {
        const n = Math.min(chunk, inner.size - r);
        let from = rowsAt;
        let fromStride = pitch * size;
        if (xInModule) {
          from = xBase + (xAt + r * inner.x) * size;
          fromStride = inner.x * size;
        } else
          gather(
            runtime,
            { data: x, base: xAt + r * inner.x, rows: n, rowStride: inner.x, cols: plan.cols, operand: "x" },
            { address: rowsAt, pitch, columns },
          );

        let to = reduces ? resultsAt : rowsAt;
        let toStride = reduces ? size : pitch * size;
        if (yInModule) {
          to = yBase + (yAt + r * inner.y) * size;
          toStride = inner.y * size;
        }

        if (modified) {
          const modify = job.dtype === "f32" ? kernels.modify_f32 : kernels.modify_f64;
          if (bias !== undefined && (r === 0 || inner.bias !== 0)) {
            const rows = inner.bias === 0 ? 1 : n;
            gather(
              runtime,
              { data: bias, base: bAt + r * inner.bias, rows, rowStride: inner.bias, cols: plan.cols, operand: "bias" },
              { address: biasAt, pitch: cols, columns },
            );
          }
          if (mask !== undefined && (r === 0 || inner.mask !== 0)) {
            const rows = inner.mask === 0 ? 1 : n;
            gather(
              runtime,
              { data: mask, base: mAt + r * inner.mask, rows, rowStride: inner.mask, cols: plan.cols, operand: "mask" },
              { address: maskAt, pitch: cols, columns },
            );
          }
          const target = reduces || !yInModule ? rowsAt : to;
          const targetStride = reduces || !yInModule ? pitch * size : toStride;
          modify(from, target, n, cols, fromStride, targetStride, job.scale, biasAt, inner.bias === 0 ? 0 : cols * size, maskAt, inner.mask === 0 ? 0 : cols);
          from = target;
          fromStride = targetStride;
        }

        kernels[job.kernel](from, to, n, cols, fromStride, toStride, operand, job.safe);
        operand += n * operandStride;
        if (!yInModule) {
          const results = { address: to, pitch: reduces ? 1 : pitch, columns };
          scatter(runtime, results, { data: y, base: yAt + r * inner.y, rows: n, rowStride: inner.y, cols: reduces ? [] : plan.cols, operand: "y" });
        }
      }
    });
  } finally {
    memory.release(mark);
  }
}

/** Calls back with the operands' offsets, in elements, for every combination of the row dimensions but the last. */
function forEachOuterRow(plan: RowPlan, visit: (x: number, y: number, bias: number, mask: number) => void): void {
  const outer = plan.rows.slice(0, -1);
  const step = (d: number, x: number, y: number, bias: number, mask: number): void => {
    const dim = outer[d];
    if (dim === undefined) {
      visit(x, y, bias, mask);
      return;
    }
    for (let i = 0; i < dim.size; i++) step(d + 1, x + i * dim.x, y + i * dim.y, bias + i * dim.bias, mask + i * dim.mask);
  };
  step(0, 0, 0, 0, 0);
}
