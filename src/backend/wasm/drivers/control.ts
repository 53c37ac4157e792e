// How the calling thread and its workers agree on what to do: through cells of shared memory. Only this file uses atomics, not kernels.
//
// A job is a list of tasks, a task a list of kernel calls (job.ts). Any free thread takes the next ticket. A ticket carries the job's
// number, so that a worker that wakes late cannot take a ticket of a job it knows nothing about.

/** Cells, as 4-byte words from the control block's address. Cells that are written often have their own cache line. */
const LINE = 16;
/** The current job's number; workers wait for it to change. */
export const JOB = 0 * LINE;
/** Where the job's tasks, groups and calls start, and how many tasks there are. Constant while tickets are left. */
export const TASKS = JOB + 1;
export const GROUPS = JOB + 2;
export const CALLS = JOB + 3;
export const COUNT = JOB + 4;
/** Thread `t`'s scratch starts at SCRATCH + t · SCRATCH_BYTES. */
export const SCRATCH = JOB + 5;
export const SCRATCH_BYTES = JOB + 6;
/** 1 tells workers to end. */
export const STOP = JOB + 7;
/** 1 when the calling thread wants a message rather than a wake-up. */
export const LISTENING = JOB + 8;
/** Pages of memory that the job needs. A thread may be late to see that memory has grown. */
export const MEMORY_PAGES = JOB + 9;
export const PAGE_BYTES = 65536;
/** The next ticket: the job's number, and the index of a task in the lower TICKET_BITS. */
export const TICKET = 1 * LINE;
/** The number of completed tasks. */
export const DONE = 2 * LINE;
/** 1 if a task threw. */
export const FAILED = DONE + 1;
/** What each thread is doing; the calling thread is number 0. */
const STATES = 3 * LINE;

/** Values of a thread's state: between jobs, busy with a task (or about to take one), asleep until the job changes. */
export const IDLE = 0;
export const BUSY = 1;
export const ASLEEP = 2;

/** The cell with a thread's state. */
export function stateOf(thread: number): number {
  return STATES + thread * LINE;
}

/** Bytes of a control block for `threads` threads. */
export function controlBytes(threads: number): number {
  return stateOf(threads) * 4;
}

/** Bits of a ticket that count tasks. The other bits count jobs, and start over after a million of them. */
const TICKET_BITS = 12;
const TICKET_MASK = (1 << TICKET_BITS) - 1;
/** The most tasks a job may have: the last index means that no ticket is left. */
export const MAX_TASKS = TICKET_MASK;

/** The ticket of a job's task `index`. */
export function ticketOf(job: number, index: number): number {
  return (job << TICKET_BITS) | index;
}

/** Takes the next ticket of a job. Returns the index of a task, or −1 if no ticket is left or another job has begun. */
export function takeTicket(control: Int32Array, job: number, count: number): number {
  for (;;) {
    const ticket = Atomics.load(control, TICKET);
    const index = ticket & TICKET_MASK;
    if (index >= count || ticket !== ticketOf(job, index)) return -1;
    if (Atomics.compareExchange(control, TICKET, ticket, ticket + 1) === ticket) return index;
  }
}

/** Takes all remaining tickets, so that no thread starts another task. */
export function closeTickets(control: Int32Array, job: number): void {
  Atomics.store(control, TICKET, ticketOf(job, MAX_TASKS));
}

// A task is {first call, calls, group or −1, 0}, a group {tasks left, first call, calls, 0}, in words. The thread that finishes a group's
// last task makes the group's calls: they merge what the tasks left behind, in an order that does not depend on timing.
export const TASK_WORDS = 4;
export const GROUP_WORDS = 4;
/** A call is {kernel: word, relative: word, arguments: f64 each}. Bit i of `relative`: argument i is an offset into the thread's scratch. */
export const CALL_BYTES = 128;
export const MAX_ARGUMENTS = 15;

/** What the calling thread sends a worker at the start. */
export interface WorkerStart {
  /** The binaries, in the order that numbers the kernels. */
  readonly modules: readonly WebAssembly.Module[];
  readonly memory: WebAssembly.Memory;
  /** Address of the control block. */
  readonly control: number;
  /** The worker's number, from 1. */
  readonly thread: number;
}

/** What a worker reports: that it is ready, that it left a job while the calling thread listens, or an error, in a job or before. */
export type WorkerMessage =
  { readonly kind: "ready" } | { readonly kind: "left" } | { readonly kind: "failed"; readonly reason: string; readonly job?: number };
