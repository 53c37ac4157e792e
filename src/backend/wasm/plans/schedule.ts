// How a call is cut into tasks, and for how many threads. Nothing here has side effects, and a cut never changes a result: rows are
// independent, a block of queries gives the same bits whatever else is computed, and chunks of keys begin at multiples of CHUNK_KEYS and
// merge in ascending order, on one thread too.
import { CHUNK_KEYS } from "../../../calls/blocks.ts";
import type { Work } from "../../../calls/work.ts";
import { MAX_TASKS } from "../drivers/control.ts";

// Costs in nanoseconds on the development machine (AMD EPYC 9004 at 2.6 GHz, two cores, Node 24). They only have to be right within a
// factor of two, because they only decide whether a call is worth sharing.
/** One element of a row operation in f32 and f64: exponential, sum, scaling. */
export const ELEMENT_NS = { f32: 0.7, f64: 4 } as const;
/** One multiply-add of attention. */
export const MULTIPLY_ADD_NS = 0.06;
/** One byte of keys and values when few queries attend to it. */
export const KEY_BYTE_NS = 0.06;
/** One byte copied between a caller's array and unshared memory. */
export const LOCAL_COPY_NS = 0.027;

/** What sharing a call costs, in nanoseconds, and how finely to cut it. */
export interface Tuning {
  /** What the calling thread spends on a job: writing tables, waking others, finding out that they are done. */
  readonly jobNs: number;
  /** The least work worth a ticket and its calls, which take about one microsecond. */
  readonly taskNs: number;
  /** One byte copied between a caller's array and shared memory, where engines copy word by word. */
  readonly copyNs: number;
  /** Target number of tasks per thread. Threads end up to one task apart, and neither tasks nor cores are alike. */
  readonly tasksPerThread: number;
  /** A task of rows takes one in `share` of what remains for each thread: long tasks first to have few of them, short ones last to end together. */
  readonly share: number;
  /** With this many blocks per thread, blocks are not cut into chunks of keys, which costs a little more. */
  readonly blocksPerThread: number;
}

export const TUNING: Tuning = { jobNs: 60_000, taskNs: 20_000, copyNs: 0.075, tasksPerThread: 64, share: 2, blocksPerThread: 16 };

/** What a call costs on one thread. */
export interface Cost {
  readonly computeNs: number;
  /** Bytes copied between a caller's arrays and module memory. */
  readonly copyBytes: number;
}

/** What a call costs. Work that cannot be divided, such as a single row, counts as 0: threads cannot save any of it. */
export function costOf({ dtype, rowElements, multiplyAdds, keyBytes, parts, copyBytes }: Work): Cost {
  const rowNs = rowElements * ELEMENT_NS[dtype === "f64" ? "f64" : "f32"];
  const computeNs = rowNs + Math.max(multiplyAdds * MULTIPLY_ADD_NS, keyBytes * KEY_BYTE_NS);
  return { computeNs: parts.cpu < 2 ? 0 : computeNs, copyBytes };
}

/**
 * How many of `threads` threads a call is worth: 1 unless sharing it saves more than it costs. The calling thread makes the copies,
 * and copies into shared memory are slower.
 */
export function threadsFor({ computeNs, copyBytes }: Cost, threads: number, { jobNs, taskNs, copyNs }: Tuning = TUNING): number {
  const useful = Math.min(threads, Math.floor(computeNs / taskNs));
  if (useful < 2) return 1;
  const saved = computeNs * (1 - 1 / useful);
  const spent = jobNs + copyBytes * Math.max(0, copyNs - LOCAL_COPY_NS);
  return saved > spent ? useful : 1;
}

/** How much work a task should have: enough to be worth a ticket, and enough that no job has too many tasks. */
export function workPerTask(computeNs: number, threads: number, { taskNs, tasksPerThread }: Tuning = TUNING): number {
  return Math.max(taskNs, computeNs / Math.min(MAX_TASKS / 2, threads * tasksPerThread));
}

/** Consecutive items of a list, `from` … `to`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Rows of one segment. */
export interface RowPart extends Range {
  readonly segment: number;
}

/**
 * Cuts segments of rows into tasks of `least` rows, or of one in `divisor` of the remaining rows if that is more. A task has parts of
 * one or several segments. Every row is in exactly one part, in order.
 */
export function cutRows(segments: readonly number[], least: number, divisor: number): readonly (readonly RowPart[])[] {
  const tasks: RowPart[][] = [];
  let left = segments.reduce((sum, rows) => sum + rows, 0);
  let room = 0;
  segments.forEach((rows, segment) => {
    for (let from = 0; from < rows;) {
      if (room === 0) {
        tasks.push([]);
        room = Math.max(1, Math.floor(Math.max(least, left / divisor)));
      }
      const to = Math.min(rows, from + room);
      tasks.at(-1)?.push({ segment, from, to });
      room -= to - from;
      left -= to - from;
      from = to;
    }
  });
  return tasks;
}

/** Joins neighbouring items into tasks that cost at least `least`; the last may cost less. */
export function joinTasks(costs: readonly number[], least: number): readonly Range[] {
  const tasks: Range[] = [];
  let from = 0;
  let sum = 0;
  costs.forEach((cost, i) => {
    sum += cost;
    if (sum < least) return;
    tasks.push({ from, to: i + 1 });
    from = i + 1;
    sum = 0;
  });
  if (from < costs.length) tasks.push({ from, to: costs.length });
  return tasks;
}

/** The chunks of a block that sees keys `low` … `high`: they begin at multiples of CHUNK_KEYS, and every key is in one. */
export function keyChunks(low: number, high: number): readonly Range[] {
  const chunks: Range[] = [];
  for (let from = Math.floor(low / CHUNK_KEYS.wasm) * CHUNK_KEYS.wasm; from < high; from += CHUNK_KEYS.wasm) {
    chunks.push({ from, to: Math.min(from + CHUNK_KEYS.wasm, high) });
  }
  return chunks;
}

/** Whether to cut a job's decode blocks into chunks of keys: only if there are too few blocks to keep all threads busy to the end. */
export function cutsKeys(blocks: number, threads: number, { blocksPerThread }: Tuning = TUNING): boolean {
  return threads > 1 && blocks < threads * blocksPerThread;
}
