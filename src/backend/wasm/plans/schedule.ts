// How a call is cut into tasks, and for how many threads: pure. A cut never changes a result: rows are independent, a block of
// queries computes the same whoever else is computed, and chunks of keys begin at multiples of CHUNK_KEYS and merge in ascending order,
// on one thread too.
import { CHUNK_KEYS } from "../../../calls/blocks.ts";
import { MAX_TASKS } from "../drivers/control.ts";

// What things take on the machine where this was written (AMD EPYC 9004 at 2.6 GHz, two cores, Node 24), in nanoseconds. They only have to be
// right to a factor of two: what they decide is whether a call is worth sharing.
/** One element of a row operation in f32 and f64: exponential, sum, scaling. */
export const ELEMENT_NS = { f32: 0.7, f64: 4 } as const;
/** A scale, bias or mask on top of that. */
export const MODIFY_NS = 0.3;
/** One multiply-add of attention. */
export const MULTIPLY_ADD_NS = 0.06;
/** One byte copied between a caller's array and unshared memory. */
export const LOCAL_COPY_NS = 0.027;

/** What sharing a call costs, in nanoseconds, and how finely it is cut. */
export interface Tuning {
  /** What the calling thread spends on a job: tables, waking others, finding out that they are done. */
  readonly jobNs: number;
  /** Work that is worth a ticket and the calls behind it, which take about one microsecond. */
  readonly taskNs: number;
  /** One byte copied between a caller's array and shared memory, where engines copy word by word. */
  readonly copyNs: number;
  /** Tasks per thread to aim at: threads end as far apart as a task is long, and neither tasks nor cores are alike. */
  readonly tasksPerThread: number;
  /** A task of rows takes one in `share` of what remains for each thread: long tasks first, so that they are few, and short ones to end together. */
  readonly share: number;
  /** Blocks per thread that are enough not to cut them into chunks of keys, which costs a little more. */
  readonly blocksPerThread: number;
}

export const TUNING: Tuning = { jobNs: 60_000, taskNs: 20_000, copyNs: 0.075, tasksPerThread: 64, share: 2, blocksPerThread: 16 };

/** What a call costs on one thread. */
export interface Cost {
  readonly computeNs: number;
  /** Bytes that travel between a caller's arrays and module memory. */
  readonly copyBytes: number;
}

/**
 * How many of `threads` threads a call is worth: 1 unless sharing it saves more than it costs. Copies are made by the calling thread,
 * and into shared memory more slowly.
 */
export function threadsFor({ computeNs, copyBytes }: Cost, threads: number, { jobNs, taskNs, copyNs }: Tuning = TUNING): number {
  const useful = Math.min(threads, Math.floor(computeNs / taskNs));
  if (useful < 2) return 1;
  const saved = computeNs * (1 - 1 / useful);
  const spent = jobNs + copyBytes * Math.max(0, copyNs - LOCAL_COPY_NS);
  return saved > spent ? useful : 1;
}

/** How much work a task should have: at least what is worth a ticket, and so much that no job has too many tasks. */
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
 * Cuts segments of rows into tasks of `least` rows, longer where that is less than one in `divisor` of the rows that remain: a task
 * has parts of one or several segments. Every row is in exactly one part, in order.
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

/** Joins neighbouring items, by their cost, into tasks of at least `least`; the last may have less. */
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

/** The chunks of a block that sees the keys `low` … `high`: all but the first begin at multiples of CHUNK_KEYS, every key is in one. */
export function keyChunks(low: number, high: number): readonly Range[] {
  const chunks: Range[] = [];
  for (let from = Math.floor(low / CHUNK_KEYS.wasm) * CHUNK_KEYS.wasm; from < high; from += CHUNK_KEYS.wasm) {
    chunks.push({ from, to: Math.min(from + CHUNK_KEYS.wasm, high) });
  }
  return chunks;
}

/** Whether a job's decode blocks are cut into chunks of keys: when there are too few blocks to keep all threads busy to the end. */
export function cutsKeys(blocks: number, threads: number, { blocksPerThread }: Tuning = TUNING): boolean {
  return threads > 1 && blocks < threads * blocksPerThread;
}
