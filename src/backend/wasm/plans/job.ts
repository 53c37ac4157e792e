import { CALL_BYTES, GROUP_WORDS, MAX_ARGUMENTS, TASK_WORDS } from "../drivers/control.ts";
import type { Kernels } from "../module/kernels.ts";
import type { ModuleMemory } from "../module/memory.ts";

/** One call of a kernel. */
export interface Call {
  readonly kernel: keyof Kernels;
  /** Addresses and numbers. */
  readonly args: readonly number[];
  /** Which arguments are offsets into the scratch of the thread that makes the call: bit i for argument i. */
  readonly relative?: number;
}

/** Calls that follow when all tasks of a group are done, made by the thread that did the last of them. */
export interface Group {
  readonly calls: readonly Call[];
}

/** What a thread does at a time: calls, one after the other. */
export interface Task {
  readonly calls: readonly Call[];
  readonly group?: Group;
}

/** What has to be done for one call of an operation. */
export interface Job {
  readonly tasks: readonly Task[];
  /** Scratch that a thread needs. */
  readonly scratchBytes: number;
}

/** Blocks of module memory that belong to one call, and the copies that fill them. */
export class Lease {
  readonly memory: ModuleMemory;
  readonly #blocks: number[] = [];
  readonly #now: (() => void)[] = [];
  readonly #later: (() => void)[] = [];

  constructor(memory: ModuleMemory) {
    this.memory = memory;
  }

  /** A block that lasts until `free`. All blocks are taken before the first copy is made, as growth may detach views. */
  take(bytes: number): number {
    const start = this.memory.allocate(bytes);
    this.#blocks.push(start);
    return start;
  }

  /** Notes a copy out of `source`: an array of the caller's is read before the call returns, module memory when the job's turn has come. */
  copy(source: ArrayBufferView, copy: () => void): void {
    (this.memory.addressOf(source) >= 0 ? this.#later : this.#now).push(copy);
  }

  /** Makes the copies of the caller's arrays. */
  readArrays(): void {
    for (const copy of this.#now) copy();
  }

  /** Makes the copies within module memory. */
  readMemory(): void {
    for (const copy of this.#later) copy();
  }

  free(): void {
    for (const start of this.#blocks.splice(0)) this.memory.free(start);
  }
}

/** Where a job's tables lie, and scratch of `scratchBytes` for each thread. */
export interface JobTables {
  readonly tasks: number;
  readonly groups: number;
  readonly calls: number;
  readonly count: number;
  readonly scratch: number;
  readonly scratchBytes: number;
}

/** Writes a job's tables to module memory, and takes scratch for `slots` threads. Kernels go by the numbers that threads know them by. */
export function writeJob(lease: Lease, kernelNumbers: ReadonlyMap<string, number>, { tasks, scratchBytes: least }: Job, slots: number): JobTables {
  const groups = new Map<Group, number>();
  let count = 0;
  for (const { calls, group } of tasks) {
    count += calls.length;
    if (group === undefined || groups.has(group)) continue;
    groups.set(group, groups.size);
    count += group.calls.length;
  }
  // One block for all, what is aligned most first.
  const scratchBytes = Math.ceil(least / 64) * 64;
  const tableBytes = count * CALL_BYTES + (tasks.length * TASK_WORDS + groups.size * GROUP_WORDS) * 4;
  const scratch = lease.take(scratchBytes * slots + tableBytes);
  const callsAt = scratch + scratchBytes * slots;
  const tasksAt = callsAt + count * CALL_BYTES;
  const groupsAt = tasksAt + tasks.length * TASK_WORDS * 4;
  const words = lease.memory.i32;
  const numbers = lease.memory.f64;
  let next = 0;
  const writeCalls = (calls: readonly Call[]): void => {
    for (const { kernel, args, relative = 0 } of calls) {
      const at = callsAt + next++ * CALL_BYTES;
      words[at / 4] = kernelNumbers.get(kernel) ?? -1;
      words[at / 4 + 1] = relative;
      for (let i = 0; i < MAX_ARGUMENTS; i++) numbers[at / 8 + 1 + i] = args[i] ?? 0;
    }
  };
  for (const [{ calls }, g] of groups) {
    const at = groupsAt / 4 + g * GROUP_WORDS;
    words[at] = 0;
    words[at + 1] = next;
    words[at + 2] = calls.length;
    writeCalls(calls);
  }
  tasks.forEach(({ calls, group }, t) => {
    const at = tasksAt / 4 + t * TASK_WORDS;
    const g = group === undefined ? -1 : (groups.get(group) ?? -1);
    words[at] = next;
    words[at + 1] = calls.length;
    words[at + 2] = g;
    if (g >= 0) {
      const left = groupsAt / 4 + g * GROUP_WORDS;
      words[left] = (words[left] ?? 0) + 1;
    }
    writeCalls(calls);
  });
  return { tasks: tasksAt, groups: groupsAt, calls: callsAt, count: tasks.length, scratch, scratchBytes };
}
