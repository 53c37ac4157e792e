import { BackendError, DisposedError } from "../../../errors/errors.ts";
import type { AbortSignalLike } from "../../../errors/signal.ts";
import {
  ASLEEP,
  BUSY,
  CALLS,
  COUNT,
  DONE,
  FAILED,
  GROUPS,
  IDLE,
  JOB,
  LISTENING,
  MEMORY_PAGES,
  PAGE_BYTES,
  SCRATCH,
  SCRATCH_BYTES,
  STOP,
  TASKS,
  TICKET,
  type WorkerMessage,
  closeTickets,
  controlBytes,
  stateOf,
  ticketOf,
} from "./control.ts";
import { Executor, numbersOf } from "./executor.ts";
import type { JobTables } from "./job-tables.ts";
import type { Runtime } from "../module/runtime.ts";
import { type WorkerThread, startWorker } from "./worker-thread.ts";

/** How long a worker may take to start before it counts as unable to. */
const START_TIMEOUT_MS = 10_000;
/** How many dead workers may be replaced before a job succeeds again: what kills one may kill the next. */
const REPLACEMENTS = 10;
/** How long the calling thread works or blocks before it checks for events: aborts, workers that died. */
const SLICE_MS = 10;
/** How long it spins for the last tasks to end before it blocks: as long as waking it would take. */
const SPIN_MS = 0.05;
/** How long it blocks for the last tasks to end before it waits for a message instead. */
const BLOCK_MS = 2;

/** A worker, and its number among the threads. */
interface Member {
  readonly thread: number;
  readonly handle: WorkerThread;
  ready: boolean;
  /** Ends the wait for it to become ready. */
  readonly settle: () => void;
}

/** The running job, if it did not end at once. */
interface Running {
  readonly id: number;
  readonly count: number;
  /** Why the job ends without a result. Set once; its tickets are closed by then. */
  failure: { readonly reason: unknown } | undefined;
  /** Makes the job check again whether it has ended. */
  wake: () => void;
}

/** What `WorkerPool.create` needs to know. */
export interface PoolOptions {
  /** Threads that compute, including the calling one if it may block. */
  readonly threads: number;
  /** Whether to start workers; only possible with shared memory. */
  readonly shared: boolean;
  readonly workerUrl: string | undefined;
}

/**
 * Workers over one shared memory, plus the calling thread if it may block. It never may on a browser's main thread, which only hands
 * out jobs. One job runs at a time. Without workers, the calling thread does all tasks.
 */
export class WorkerPool {
  readonly #runtime: Runtime;
  readonly #options: PoolOptions;
  readonly #mayBlock: boolean;
  /** How many workers there should be. */
  readonly #wanted: number;
  readonly #controlAt: number;
  readonly #executor: Executor;
  /** The kernels' numbers in the tables of jobs. */
  readonly kernelNumbers: ReadonlyMap<string, number>;
  readonly #members = new Map<number, Member>();
  /** Why workers are missing. */
  readonly #reasons = new Set<string>();
  /** Workers replaced since a job succeeded. */
  #replaced = 0;
  #job = 0;
  #running: Running | undefined;
  #disposed = false;

  private constructor(runtime: Runtime, options: PoolOptions) {
    this.#runtime = runtime;
    this.#options = options;
    const bytes = controlBytes(options.threads + 1);
    this.#controlAt = runtime.memory.allocate(bytes);
    runtime.memory.u8.fill(0, this.#controlAt, this.#controlAt + bytes);
    const binaries = [...runtime.instances.values()];
    this.kernelNumbers = numbersOf(binaries);
    this.#executor = new Executor(runtime.memory.memory, binaries, this.#controlAt, 0);
    this.#mayBlock = mayBlock();
    this.#wanted = !options.shared ? 0 : options.threads - (this.#mayBlock ? 1 : 0);
  }

  /** Starts the workers and waits until each is ready, or known not to start. */
  static async create(runtime: Runtime, options: PoolOptions): Promise<WorkerPool> {
    const pool = new WorkerPool(runtime, options);
    await Promise.all(Array.from({ length: pool.#wanted }, (_, i) => pool.#start(i + 1, false)));
    return pool;
  }

  /** The threads that compute at present. */
  get threads(): number {
    return Math.max(1, this.#ready().length + (this.#mayBlock ? 1 : 0));
  }

  /** The workers that are ready. */
  get workers(): number {
    return this.#ready().length;
  }

  /** Slots of scratch that a job needs: one per possible thread, including the calling one. */
  get slots(): number {
    return this.#options.threads + 1;
  }

  /** Whether this thread may wait, and so takes part in jobs. */
  get mayBlock(): boolean {
    return this.#mayBlock;
  }

  /** Why there are fewer threads than asked for; empty if there are enough. */
  get reasons(): readonly string[] {
    return this.#ready().length < this.#wanted ? [...this.#reasons] : [];
  }

  /**
   * Runs a job on up to `threads` threads. Returns `undefined` if the job has already ended, as short jobs do if the calling thread may
   * block.
   *
   * @throws (or rejects with) BackendError if a worker died or a task threw, the signal's reason if it was aborted, DisposedError
   */
  run(tables: JobTables, threads: number, signal: AbortSignalLike | undefined): Promise<void> | undefined {
    const running = this.#publish(tables);
    // If the calling thread only hands out work, a worker also does a job for one thread.
    this.#wakeWorkers(threads - (this.#mayBlock ? 1 : 0));
    // Without workers this thread does the work, whether or not it may block.
    if (this.#mayBlock || this.#ready().length === 0) {
      const deadline = performance.now() + SLICE_MS;
      if (this.#work(running, deadline)) this.#waitShortly(running, deadline);
    }
    if (this.#hasEnded(running) && running.failure === undefined) {
      this.#succeeded();
      return undefined;
    }
    return this.#finish(running, signal);
  }

  /** Ends all workers. A running job rejects. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    const control = this.#control;
    if (this.#running !== undefined) this.#fail(this.#running, new DisposedError("the engine was disposed while the call was running"));
    Atomics.store(control, STOP, 1);
    Atomics.add(control, JOB, 1);
    Atomics.notify(control, JOB);
    const members = [...this.#members.values()];
    this.#members.clear();
    for (const { settle } of members) settle();
    await Promise.all(members.map(({ handle }) => handle.terminate()));
    this.#running?.wake();
  }

  /** The current control block: if memory is not shared, growth detaches every view. */
  get #control(): Int32Array {
    return this.#executor.control;
  }

  #publish({ tasks, groups, calls, count, scratch, scratchBytes }: JobTables): Running {
    const control = this.#control;
    // No tickets while the tables change: a worker may still be looking for a ticket of the previous job.
    closeTickets(control, this.#job);
    const id = (this.#job = (this.#job + 1) | 0);
    control[TASKS] = tasks;
    control[GROUPS] = groups;
    control[CALLS] = calls;
    control[SCRATCH] = scratch;
    control[SCRATCH_BYTES] = scratchBytes;
    control[MEMORY_PAGES] = this.#runtime.memory.byteLength / PAGE_BYTES;
    Atomics.store(control, COUNT, count);
    Atomics.store(control, DONE, 0);
    Atomics.store(control, FAILED, 0);
    Atomics.store(control, LISTENING, 0);
    Atomics.store(control, TICKET, ticketOf(id, 0));
    Atomics.store(control, JOB, id);
    return (this.#running = { id, count, failure: undefined, wake: () => undefined });
  }

  /** Wakes up to `count` workers. Workers that are still spinning or starting come by themselves. */
  #wakeWorkers(count: number): void {
    const control = this.#control;
    const ready = this.#ready();
    const asleep = ready.filter(({ thread }) => Atomics.load(control, stateOf(thread)) === ASLEEP).length;
    const awake = ready.length - asleep;
    if (asleep > 0 && awake < count) Atomics.notify(control, JOB, count - awake);
  }

  /** Does tasks on this thread until the deadline. Returns whether the tickets ran out. */
  #work(running: Running, deadline: number): boolean {
    try {
      return this.#executor.work(running.id, deadline);
    } catch (error) {
      this.#fail(running, new BackendError("a kernel failed on the calling thread", { cause: error }));
      return true;
    }
  }

  /** Waits for other threads' last tasks: spins first, then blocks. */
  #waitShortly(running: Running, deadline: number): void {
    const control = this.#control;
    const spinUntil = Math.min(performance.now() + SPIN_MS, deadline);
    const blockUntil = spinUntil + BLOCK_MS;
    for (;;) {
      const done = Atomics.load(control, DONE);
      if (done === running.count || Atomics.load(control, FAILED) === 1) return;
      const now = performance.now();
      if (now < spinUntil) continue;
      if (now >= blockUntil) return;
      Atomics.wait(control, DONE, done, blockUntil - now);
    }
  }

  /** Whether no thread is doing a task of the job, or ever will. */
  #hasEnded(running: Running): boolean {
    const control = this.#control;
    if (Atomics.load(control, DONE) === running.count) return true;
    if (running.failure === undefined) return false;
    return this.#disposed || [...this.#members.keys()].every((thread) => Atomics.load(control, stateOf(thread)) !== BUSY);
  }

  #succeeded(): void {
    this.#running = undefined;
    this.#replaced = 0;
  }

  /** Waits for the end of a job that did not end at once. */
  async #finish(running: Running, signal: AbortSignalLike | undefined): Promise<void> {
    const onAbort = (): void => this.#fail(running, signal?.reason);
    signal?.addEventListener("abort", onAbort);
    this.#keepAlive(true);
    try {
      while (!this.#hasEnded(running)) {
        const changed = new Promise<void>((resolve) => {
          running.wake = resolve;
        });
        if (this.#mayBlock || this.#ready().length === 0) {
          await yieldToEvents();
          const deadline = performance.now() + SLICE_MS;
          if (running.failure === undefined && !this.#work(running, deadline)) continue;
          if (running.failure === undefined) this.#waitShortly(running, deadline);
        }
        // A worker leaves the job before it checks whether anybody listens. So listen first, then check.
        Atomics.store(this.#control, LISTENING, 1);
        if (!this.#hasEnded(running)) await changed;
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      Atomics.store(this.#control, LISTENING, 0);
      this.#running = undefined;
      this.#keepAlive(false);
    }
    if (running.failure !== undefined) throw running.failure.reason;
    this.#succeeded();
  }

  /** Stops any thread from starting another task, and records why. */
  #fail(running: Running, reason: unknown): void {
    if (running.failure !== undefined || this.#running !== running) return;
    closeTickets(this.#control, running.id);
    running.failure = { reason };
    running.wake();
  }

  #ready(): readonly Member[] {
    return [...this.#members.values()].filter((member) => member.ready);
  }

  #keepAlive(keep: boolean): void {
    for (const { handle } of this.#members.values()) handle.keepAlive(keep);
  }

  /** Starts worker `thread`. Resolves when it is ready, or known not to start. `replacing`: it takes the place of one that was ready. */
  #start(thread: number, replacing: boolean): Promise<void> {
    const { workerUrl } = this.#options;
    const { instances, memory } = this.#runtime;
    return new Promise((resolve) => {
      let member: Member | undefined;
      let isGone = false;
      const timer = setTimeout(() => void gone(`it did not start within ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
      const settle = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const gone = async (reason: string): Promise<void> => {
        if (isGone) return;
        isGone = true;
        clearTimeout(timer);
        // Its number is free only when it can no longer write.
        await member?.handle.terminate();
        if (!this.#disposed) this.#lost(thread, member?.ready === true, replacing, reason);
        resolve();
      };
      try {
        const handle = startWorker(workerUrl, {
          message: (message: WorkerMessage) => {
            const running = this.#running;
            if (message.kind === "ready" && member !== undefined) {
              member.ready = true;
              if (this.#ready().length === this.#wanted) this.#reasons.clear();
              if (running === undefined) handle.keepAlive(false);
              settle();
            } else if (message.kind === "failed" && message.job === undefined) {
              void gone(message.reason);
            } else if (message.kind === "failed" && running !== undefined && message.job === running.id) {
              this.#fail(running, new BackendError("a kernel failed in a worker", { cause: new Error(message.reason) }));
            }
            running?.wake();
          },
          gone: (reason) => void gone(reason),
        });
        member = { thread, handle, ready: false, settle };
        this.#members.set(thread, member);
        handle.post({ modules: [...instances.keys()], memory: memory.memory, control: this.#controlAt, thread });
      } catch (error) {
        void gone(error instanceof Error ? error.message : String(error));
      }
    });
  }

  /** A worker died or could not start. The task it was doing is lost; a worker that was ready is replaced. */
  #lost(thread: number, wasReady: boolean, replacing: boolean, reason: string): void {
    this.#members.delete(thread);
    this.#reasons.add(`a worker ${wasReady ? "died" : "could not start"}: ${reason}`);
    // A worker that started too late may have begun a task by the time it was given up.
    const busy = Atomics.exchange(this.#control, stateOf(thread), IDLE) === BUSY;
    const running = this.#running;
    if (running !== undefined) {
      if (busy) this.#fail(running, new BackendError("a worker died during the call", { cause: new Error(reason) }));
      // The others may be asleep because this one was awake.
      this.#wakeWorkers(this.#wanted);
      running.wake();
    }
    if ((!wasReady && !replacing) || this.#replaced === REPLACEMENTS) return;
    this.#replaced++;
    void this.#start(thread, true);
  }
}

/** Whether this thread may wait for another: yes, except on a browser's main thread and in service workers. */
function mayBlock(): boolean {
  try {
    // The cell has another value, so this returns at once if waiting is allowed.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    // Waiting is not allowed, or there is no shared memory and so nobody to wait for. In that case only a page must not block.
    return typeof SharedArrayBuffer === "undefined" && !("document" in globalThis);
  }
}

/** Lets events happen: messages, aborts, timers that are due. */
export function yieldToEvents(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => unknown };
  return new Promise((resolve) => {
    if (setImmediate !== undefined) {
      setImmediate(resolve);
      return;
    }
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
