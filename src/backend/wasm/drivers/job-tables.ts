import type { ModuleMemory } from "../module/memory.ts";
import type { Group, KernelCall, Task } from "../plans/plan.ts";
import { CALL_BYTES, GROUP_WORDS, MAX_ARGUMENTS, TASK_WORDS } from "./control.ts";

// A stage as threads find it in shared memory: its tasks, and the kernel calls of each.

/** Blocks of module memory that belong to one call. */
export class Lease {
  readonly memory: ModuleMemory;
  readonly #blocks: number[] = [];

  constructor(memory: ModuleMemory) {
    this.memory = memory;
  }

  /** A block that lasts until `free`. */
  take(bytes: number): number {
    const start = this.memory.allocate(bytes);
    this.#blocks.push(start);
    return start;
  }

  free(): void {
    for (const start of this.#blocks.splice(0)) this.memory.free(start);
  }
}

/** Scratch of all threads: thread `t`'s starts at `address + t · bytes`. */
export interface ThreadScratch {
  readonly address: number;
  readonly bytes: number;
}

/** Where a job's tables are, and its scratch: `scratchBytes` for each thread. */
export interface JobTables {
  readonly tasks: number;
  readonly groups: number;
  readonly calls: number;
  readonly count: number;
  readonly scratch: number;
  readonly scratchBytes: number;
}

/** Writes tasks to module memory. Kernels are named by the numbers that threads use for them. */
export function writeTasks(lease: Lease, kernelNumbers: ReadonlyMap<string, number>, tasks: readonly Task[], scratch: ThreadScratch): JobTables {
  const groups = new Map<Group, number>();
  let count = 0;
  for (const { calls, group } of tasks) {
    count += calls.length;
    if (group === undefined || groups.has(group)) continue;
    groups.set(group, groups.size);
    count += group.calls.length;
  }
  // One block for all of it, strictest alignment first.
  const callsAt = lease.take(count * CALL_BYTES + (tasks.length * TASK_WORDS + groups.size * GROUP_WORDS) * 4);
  const tasksAt = callsAt + count * CALL_BYTES;
  const groupsAt = tasksAt + tasks.length * TASK_WORDS * 4;
  const words = lease.memory.i32;
  const numbers = lease.memory.f64;
  let next = 0;
  const writeCalls = (calls: readonly KernelCall[]): void => {
    for (const { kernel, args, relative } of calls) {
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
  return { tasks: tasksAt, groups: groupsAt, calls: callsAt, count: tasks.length, scratch: scratch.address, scratchBytes: scratch.bytes };
}
