import {
  BUSY,
  CALLS,
  CALL_BYTES,
  COUNT,
  DONE,
  FAILED,
  GROUPS,
  GROUP_WORDS,
  IDLE,
  MEMORY_PAGES,
  PAGE_BYTES,
  SCRATCH,
  SCRATCH_BYTES,
  TASKS,
  TASK_WORDS,
  closeTickets,
  stateOf,
  takeTicket,
} from "./control.ts";

type Kernel = (...args: number[]) => void;

/** Each kernel's number in executors: its position among the exports of all binaries, one binary after the other. */
export function numbersOf(binaries: readonly WebAssembly.Exports[]): ReadonlyMap<string, number> {
  return new Map(binaries.flatMap((exports) => Object.keys(exports)).map((name, number) => [name, number]));
}

/** Does the tasks of jobs, one after the other, the same way on the calling thread and in every worker. */
export class Executor {
  readonly #memory: WebAssembly.Memory;
  readonly #kernels: readonly Kernel[];
  readonly #controlAt: number;
  readonly #state: number;
  readonly #thread: number;
  #buffer: ArrayBufferLike | undefined;
  #words!: Int32Array;
  #numbers!: Float64Array;
  #control!: Int32Array;

  /** `thread` is 0 for the calling thread; `binaries` are the exports of every binary, in the same order on all threads. */
  constructor(memory: WebAssembly.Memory, binaries: readonly WebAssembly.Exports[], controlAt: number, thread: number) {
    this.#memory = memory;
    this.#kernels = binaries.flatMap((exports) => Object.values(exports)) as Kernel[];
    this.#controlAt = controlAt;
    this.#thread = thread;
    this.#state = stateOf(thread);
    this.#refresh();
  }

  /** The control block. Renewed after memory has grown. */
  get control(): Int32Array {
    this.#refresh();
    return this.#control;
  }

  /**
   * Takes tickets of a job and does their tasks until none is left, or until `deadline` (of performance.now). If a task throws, the job
   * ends: no thread starts another task, FAILED is set, and the error is thrown here.
   *
   * @returns whether the tickets ran out
   */
  work(job: number, deadline = Infinity): boolean {
    const control = this.#controlOfJob();
    const count = Atomics.load(control, COUNT);
    try {
      for (;;) {
        // Busy before taking the ticket: whoever closes the tickets and then sees no thread busy knows that all tasks are over.
        Atomics.store(control, this.#state, BUSY);
        const task = takeTicket(control, job, count);
        if (task < 0) return true;
        this.#run(control, task);
        if (Atomics.add(control, DONE, 1) + 1 === count) {
          Atomics.notify(control, DONE);
          return true;
        }
        if (deadline !== Infinity && performance.now() >= deadline) return false;
      }
    } catch (error) {
      closeTickets(control, job);
      Atomics.store(control, FAILED, 1);
      Atomics.notify(control, DONE);
      throw error;
    } finally {
      Atomics.store(control, this.#state, IDLE);
    }
  }

  /** The control block, with views that cover the whole job: a thread may learn late that another has grown the memory. */
  #controlOfJob(): Int32Array {
    for (;;) {
      const control = this.control;
      if (control.buffer.byteLength >= Atomics.load(control, MEMORY_PAGES) * PAGE_BYTES) return control;
    }
  }

  #run(control: Int32Array, task: number): void {
    const words = this.#words;
    const addressIn = (cell: number): number => Atomics.load(control, cell) >>> 0;
    const scratch = addressIn(SCRATCH) + this.#thread * addressIn(SCRATCH_BYTES);
    const calls = addressIn(CALLS);
    const at = addressIn(TASKS) / 4 + task * TASK_WORDS;
    this.#call(calls, words[at] ?? 0, words[at + 1] ?? 0, scratch);
    const group = words[at + 2] ?? -1;
    if (group < 0) return;
    const groupAt = addressIn(GROUPS) / 4 + group * GROUP_WORDS;
    if (Atomics.sub(words, groupAt, 1) === 1) this.#call(calls, words[groupAt + 1] ?? 0, words[groupAt + 2] ?? 0, scratch);
  }

  #call(calls: number, first: number, count: number, scratch: number): void {
    const words = this.#words;
    const numbers = this.#numbers;
    for (let i = first; i < first + count; i++) {
      const record = calls + i * CALL_BYTES;
      const relative = words[record / 4 + 1] ?? 0;
      const at = record / 8 + 1;
      const arg = (n: number): number => (numbers[at + n] ?? 0) + ((relative >> n) & 1) * scratch;
      const kernel = this.#kernels[words[record / 4] ?? -1];
      if (kernel === undefined) throw new Error("the job names a kernel that is not there");
      // Always pass all of them: a WebAssembly function ignores extra arguments.
      kernel(arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11), arg(12), arg(13), arg(14));
    }
  }

  #refresh(): void {
    const { buffer } = this.#memory;
    if (buffer === this.#buffer) return;
    this.#buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#numbers = new Float64Array(buffer);
    this.#control = new Int32Array(buffer, this.#controlAt);
  }
}
