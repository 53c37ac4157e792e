import { type PlanDim, type RowPlan, appendDim } from "../../../calls/row-dims.ts";
import { gather, scatter } from "./gather.ts";
import type { Call, Job, Lease, Task } from "./job.ts";
import { CHUNK_ELEMENTS, type RowOperation, pacing } from "./rows.ts";
import type { Runtime } from "../module/runtime.ts";
import { type Cost, ELEMENT_NS, MODIFY_NS, TUNING, cutRows, workPerTask } from "./schedule.ts";

/** A row operation as a job: its tasks, and what brings the result to where the caller wants it. */
export interface RowsJob extends Job {
  readonly finish: () => void;
}

/** A run of rows that lie evenly is a call of its own in a job, which takes about a microsecond to write and to make. */
const MIN_RUN_NS = 5000;

type Operand = "x" | "y" | "bias" | "mask";
type Numbers = RowOperation["x"] | Uint8Array;

/** Where the rows of an operand lie in module memory: the first one's address, and the distance along each dimension of rows, in bytes. */
interface Place {
  readonly address: number;
  readonly strides: readonly number[];
}

const ABSENT: Place = { address: 0, strides: [] };

/** Where an operand is used where it is: rows in module memory, one element after the other. */
function placeOf({ memory }: Runtime, plan: RowPlan, operand: Operand, data: Numbers, reduces: boolean): Place | undefined {
  const base = memory.addressOf(data);
  const inRow = reduces || plan.colCount <= 1 || (plan.cols.length === 1 && plan.cols[0]?.[operand] === 1);
  if (base < 0 || !inRow) return undefined;
  return { address: base, strides: plan.rows.map((dim) => dim[operand] * data.BYTES_PER_ELEMENT) };
}

/** What a row operation costs. */
export function rowsCost(runtime: Runtime, { plan, dtype, x, y, reduces, bias, mask, scale }: RowOperation): Cost {
  let rows = 1;
  for (const dim of plan.rows) rows *= dim.size;
  const elements = rows * plan.colCount;
  const size = x.BYTES_PER_ELEMENT;
  const modified = bias !== undefined || mask !== undefined || scale !== 1;
  let copyBytes = 0;
  if (placeOf(runtime, plan, "x", x, false) === undefined) copyBytes += elements * size;
  if (placeOf(runtime, plan, "y", y, reduces) === undefined) copyBytes += (reduces ? rows : elements) * size;
  // No more than it has: biases and masks are mostly repeated.
  if (bias !== undefined && placeOf(runtime, plan, "bias", bias, false) === undefined) copyBytes += Math.min(bias.byteLength, elements * size);
  if (mask !== undefined && placeOf(runtime, plan, "mask", mask, false) === undefined) copyBytes += Math.min(mask.byteLength, elements);
  const computeNs = elements * (ELEMENT_NS[dtype] + (modified ? MODIFY_NS : 0));
  // A single row is not shared: its sum depends on the order in which blocks are added. Nor are many short runs of rows.
  const runs = rows / (plan.rows.at(-1)?.size ?? 1);
  return { computeNs: rows < 2 || computeNs < runs * MIN_RUN_NS ? 0 : computeNs, copyBytes };
}

/** Makes a job of a row operation. Rows that kernels cannot use where they are get copies of their own. */
export function rowsJob(runtime: Runtime, lease: Lease, operation: RowOperation, threads: number, tuning = TUNING): RowsJob {
  const { plan, dtype, reduces, bias, mask, scale, kernel, operand, safe } = operation;
  const cols = plan.colCount;
  const size = dtype === "f32" ? 4 : 8;
  const modified = bias !== undefined || mask !== undefined || scale !== 1;
  const x = placeOf(runtime, plan, "x", operation.x, false) ?? copyRows(runtime, lease, plan, "x", operation.x);
  const yInPlace = placeOf(runtime, plan, "y", operation.y, reduces);
  const results = yInPlace === undefined ? resultRows(runtime, lease, operation) : undefined;
  const y = yInPlace ?? results?.place ?? ABSENT;
  const biasAt = bias === undefined ? ABSENT : (placeOf(runtime, plan, "bias", bias, false) ?? copyRows(runtime, lease, plan, "bias", bias));
  const maskAt = mask === undefined ? ABSENT : (placeOf(runtime, plan, "mask", mask, false) ?? copyRows(runtime, lease, plan, "mask", mask));

  const dims: PlanDim[] = [];
  plan.rows.forEach(({ size: count }, d) =>
    appendDim(dims, { size: count, x: x.strides[d] ?? 0, y: y.strides[d] ?? 0, bias: biasAt.strides[d] ?? 0, mask: maskAt.strides[d] ?? 0 }),
  );
  const inner = dims.at(-1) ?? { size: 1, x: 0, y: 0, bias: 0, mask: 0 };
  const segments = segmentsOf(dims.slice(0, -1), { x: x.address, y: y.address, bias: biasAt.address, mask: maskAt.address });

  // Modified rows of a log-sum-exp go through scratch, a few at a time; those of a softmax through the result, while they are in the cache.
  const most = modified ? Math.max(1, Math.floor(CHUNK_ELEMENTS / Math.max(cols, 1))) : Infinity;
  const scratchRows = Math.ceil(operation.scratchBytes / 64) * 64;
  const scratchBytes = modified && reduces ? scratchRows + Math.min(most, inner.size) * cols * size : operation.scratchBytes;
  const calls = (segment: Segment, first: number, end: number): Call[] => {
    const made: Call[] = [];
    for (let r = first; r < end; r += most) {
      const rows = Math.min(most, end - r);
      const to = segment.y + r * inner.y;
      let [from, fromStride, fromScratch] = [segment.x + r * inner.x, inner.x, 0];
      if (modified) {
        const target = reduces ? scratchRows : to;
        const targetStride = reduces ? cols * size : inner.y;
        const biasRow = bias === undefined ? 0 : segment.bias + r * inner.bias;
        const maskRow = mask === undefined ? 0 : segment.mask + r * inner.mask;
        made.push({
          kernel: dtype === "f32" ? "modify_f32" : "modify_f64",
          args: [from, target, rows, cols, fromStride, targetStride, scale, biasRow, inner.bias, maskRow, inner.mask],
          relative: reduces ? 1 << 1 : 0,
        });
        [from, fromStride, fromScratch] = [target, targetStride, reduces ? 1 : 0];
      }
      made.push({
        kernel,
        args: [from, to, rows, cols, fromStride, inner.y, operand ?? 0, safe],
        relative: fromScratch | (operand === undefined ? 1 << 6 : 0),
      });
    }
    return made;
  };

  const { computeNs } = rowsCost(runtime, operation);
  const rowNs = computeNs / Math.max(1, segments.length * inner.size);
  const parts = cutRows(
    segments.map(() => inner.size),
    workPerTask(computeNs, threads, tuning) / rowNs,
    threads * tuning.share,
  );
  const tasks = parts.map((task): Task => ({
    calls: task.flatMap(({ segment, from, to }) => calls(segments[segment] ?? { x: 0, y: 0, bias: 0, mask: 0 }, from, to)),
  }));
  return { tasks, scratchBytes, finish: results?.finish ?? ((): void => undefined) };
}

/** Addresses of the first of some rows that lie evenly. */
type Segment = Readonly<Record<Operand, number>>;

/** One for every combination of the outer dimensions. */
function segmentsOf(outer: readonly PlanDim[], first: Segment): readonly Segment[] {
  let segments: Segment[] = [first];
  for (const { size, x, y, bias, mask } of outer) {
    segments = segments.flatMap((s) =>
      Array.from({ length: size }, (_, i) => ({ x: s.x + i * x, y: s.y + i * y, bias: s.bias + i * bias, mask: s.mask + i * mask })),
    );
  }
  return segments;
}

/** Visits runs of rows of an operand: offset of the first in its array and number of the first in a copy, in elements and rows. */
function forEachRun(dims: readonly PlanDim[], operand: Operand, copied: readonly number[], visit: (at: number, row: number, rows: number) => void): void {
  const step = (d: number, at: number, row: number): void => {
    const dim = dims[d];
    if (dim === undefined || d === dims.length - 1) {
      visit(at, row, dim === undefined || copied[d] === 0 ? 1 : dim.size);
      return;
    }
    const times = copied[d] === 0 ? 1 : dim.size;
    for (let i = 0; i < times; i++) step(d + 1, at + i * dim[operand], row + i * (copied[d] ?? 0));
  };
  step(0, 0, 0);
}

/** The distance, in rows of a copy, along each dimension: 0 where the operand repeats, as every row is copied once. */
function copiedStrides(dims: readonly PlanDim[], operand: Operand): { readonly rows: number; readonly strides: readonly number[] } {
  const strides = new Array<number>(dims.length).fill(0);
  let rows = 1;
  for (let d = dims.length - 1; d >= 0; d--) {
    const dim = dims[d];
    if (dim === undefined || dim[operand] === 0) continue;
    strides[d] = rows;
    rows *= dim.size;
  }
  return { rows, strides };
}

/** A copy of an operand's rows, one after the other. */
function copyRows(runtime: Runtime, lease: Lease, plan: RowPlan, operand: Operand, data: Numbers): Place {
  const size = data.BYTES_PER_ELEMENT;
  const { crossing, pitch, chunkRows } = pacing(plan);
  const { rows: total, strides } = copiedStrides(plan.rows, operand);
  const address = lease.take(total * pitch * size);
  const columns = crossing ? lease.take(Math.min(chunkRows, total) * plan.colCount * size) : 0;
  const rowStride = plan.rows.at(-1)?.[operand] ?? 0;
  const held = runtime.memory.hold(data);
  lease.copy(data, () => {
    const now = held();
    forEachRun(plan.rows, operand, strides, (at, row, rows) => {
      for (let r = 0; r < rows; r += chunkRows) {
        const part = { data: now, base: at + r * rowStride, rows: Math.min(chunkRows, rows - r), rowStride, cols: plan.cols, operand };
        gather(runtime, part, { address: address + (row + r) * pitch * size, pitch, columns });
      }
    });
  });
  return { address, strides: strides.map((rows) => rows * pitch * size) };
}

/** Room for results that do not go where the caller wants them at once, and what takes them there. */
function resultRows(runtime: Runtime, lease: Lease, { plan, y, reduces }: RowOperation): { readonly place: Place; readonly finish: () => void } {
  const size = y.BYTES_PER_ELEMENT;
  const { crossing, pitch: rowPitch, chunkRows } = pacing(plan);
  const pitch = reduces ? 1 : rowPitch;
  const { rows: total, strides } = copiedStrides(plan.rows, "y");
  const address = lease.take(total * pitch * size);
  const columns = crossing && !reduces ? lease.take(Math.min(chunkRows, total) * plan.colCount * size) : 0;
  const rowStride = plan.rows.at(-1)?.y ?? 0;
  const held = runtime.memory.hold(y);
  const finish = (): void => {
    const data = held();
    forEachRun(plan.rows, "y", strides, (at, row, rows) => {
      for (let r = 0; r < rows; r += chunkRows) {
        const part = { data, base: at + r * rowStride, rows: Math.min(chunkRows, rows - r), rowStride, cols: reduces ? [] : plan.cols, operand: "y" as const };
        scatter(runtime, { address: address + (row + r) * pitch * size, pitch, columns }, part);
      }
    });
  };
  return { place: { address, strides: strides.map((rows) => rows * pitch * size) }, finish };
}
