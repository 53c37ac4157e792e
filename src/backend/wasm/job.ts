import { CALL_BYTES, GROUP_WORDS, MAX_ARGUMENTS, TASK_WORDS } from "./control.ts";
import type { Kernels } from "./kernels.ts";
import type { ModuleMemory } from "./memory.ts";

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

/** Where a job's tables lie. */
export interface JobTables {
  readonly tasks: number;
  readonly groups: number;
  readonly calls: number;
  readonly count: number;
}

/** Writes a job's tables to module memory. */
export function writeJob(lease: Lease, kernels: Kernels, { tasks }: Job): JobTables {
  const groups = [...new Set(tasks.map((task) => task.group).filter((group) => group !== undefined))];
  let count = 0;
  for (const { calls } of tasks) count += calls.length;
  for (const { calls } of groups) count += calls.length;
  const tables = {
    tasks: lease.take(tasks.length * TASK_WORDS * 4),
    groups: lease.take(groups.length * GROUP_WORDS * 4),
    calls: lease.take(count * CALL_BYTES),
    count: tasks.length,
  };
  const words = lease.memory.i32;
  const numbers = lease.memory.f64;
  const indexOf = new Map(Object.keys(kernels).map((name, index) => [name, index]));
  let next = 0;
  const writeCalls = (calls: readonly Call[]): void => {
    for (const { kernel, args, relative = 0 } of calls) {
      const at = tables.calls + next++ * CALL_BYTES;
      words[at / 4] = indexOf.get(kernel) ?? -1;
      words[at / 4 + 1] = relative;
      for (let i = 0; i < MAX_ARGUMENTS; i++) numbers[at / 8 + 1 + i] = args[i] ?? 0;
    }
  };
  const groupIndex = new Map<Group, number>();
  groups.forEach((group, g) => {
    groupIndex.set(group, g);
    const at = tables.groups / 4 + g * GROUP_WORDS;
    words[at] = 0;
    words[at + 1] = next;
    words[at + 2] = group.calls.length;
    writeCalls(group.calls);
  });
  tasks.forEach(({ calls, group }, t) => {
    const at = tables.tasks / 4 + t * TASK_WORDS;
    const g = group === undefined ? -1 : (groupIndex.get(group) ?? -1);
    words[at] = next;
    words[at + 1] = calls.length;
    words[at + 2] = g;
    if (g >= 0) {
      const left = tables.groups / 4 + g * GROUP_WORDS;
      words[left] = (words[left] ?? 0) + 1;
    }
    writeCalls(calls);
  });
  return tables;
}
