import type { Call, Output } from "../../../calls/call.ts";
import type { ArrayHandle } from "../../../tensor/array.ts";
import type { CopyDim } from "../../../tensor/copy-strided.ts";
import type { Family } from "../module/family.ts";
import type { KernelName } from "../module/kernels.ts";
import type { ModuleMemory } from "../module/memory.ts";
import type { Tuning } from "./schedule.ts";

// A plan says what the CPU does for a call, as data: a sequence of bounded stages. Two drivers run it (drivers/): one on the calling
// thread, the other by handing a stage's tasks to a pool of threads. Both run the same list, so the bits are the same.

/** One call of a kernel. */
export interface KernelCall {
  readonly kernel: KernelName;
  /** Addresses and numbers. */
  readonly args: readonly number[];
  /** Bit i: argument i is an offset into the scratch of the thread that makes the call. */
  readonly relative: number;
}

/** Calls to make when all tasks of a group are done, by the thread that did the last of them. */
export interface Group {
  readonly calls: readonly KernelCall[];
}

/** What a thread does at a time: calls, one after the other. Tasks of a stage do not depend on each other. */
export interface Task {
  readonly calls: readonly KernelCall[];
  readonly group?: Group;
}

/** A copy between an array and module memory. */
export interface Copy {
  readonly array: ArrayHandle;
  /** The array element where it begins. */
  readonly at: number;
  /** Where it begins in module memory. */
  readonly address: number;
  /** In elements. In copies in, `from` is the array and `to` module memory; in copies out, the reverse. */
  readonly dims: readonly CopyDim[];
  /** Room for all copied elements if copying whole columns and transposing them may be faster; 0 for none. */
  readonly columns: number;
}

/** Words that a plan writes to module memory before its kernels read them there. */
export interface Table {
  readonly address: number;
  readonly words: Int32Array;
}

/** Part of a plan: what is copied in, then computed, and copied out at the end. */
export interface Stage {
  readonly tables: readonly Table[];
  readonly in: readonly Copy[];
  readonly tasks: readonly Task[];
  /** Looks at what the tasks left, before anything is copied out, and throws if the call has failed. */
  readonly conclude?: ((memory: ModuleMemory) => void) | undefined;
  readonly out: readonly Copy[];
}

export interface Plan {
  /** The families whose kernels it calls. */
  readonly families: readonly Family<unknown>[];
  /** Scratch that a stage needs, including its operands and results. Later stages find there what earlier ones left. */
  readonly stageBytes: number;
  /** Scratch that each thread needs. */
  readonly threadBytes: number;
  /** Returns the stages in order, one per call, for scratch at `base`; `undefined` when none is left. */
  stages(base: number): () => Stage | undefined;
}

/** The machine that a plan is made for. */
export interface Machine {
  /** The memory that kernels compute in. Arrays in it are used in place. */
  readonly memory: ModuleMemory;
  /** How many threads take part. */
  readonly threads: number;
  /** Whether work is cut into tasks: for several threads, or for one that has other things to do in between. */
  readonly divides: boolean;
  /** About how much scratch a stage may take. Only a single row, or the keys of a single head, may exceed it. */
  readonly stageBytes: number;
  /** How finely work is cut for threads. */
  readonly tuning: Tuning;
}

/** Plans a call. `outputs` are its results by name, each with a place to go. */
export type Planner<C extends Call> = (call: C, outputs: Readonly<Record<string, Output>>, machine: Machine) => Plan;

/** Lays out a plan's scratch: blocks one after the other, each on its own cache line. */
export class Layout {
  #bytes = 0;

  /** Adds a block of `bytes` and returns its offset. */
  take(bytes: number): number {
    const start = this.#bytes;
    this.#bytes += Math.ceil(bytes / CACHE_LINE) * CACHE_LINE;
    return start;
  }

  get bytes(): number {
    return this.#bytes;
  }
}

const CACHE_LINE = 64;
