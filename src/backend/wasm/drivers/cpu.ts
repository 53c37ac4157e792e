import { type Call, type CallKind, type Output, type Returned, type UsedArrays, holdMemory, newOutput, snapshot } from "../../../calls/call.ts";
import { CallOrder, waitForTurn } from "../../../calls/call-order.ts";
import { workOf } from "../../../calls/work.ts";
import { BackendError, DisposedError } from "../../../errors/errors.ts";
import type { AbortSignalLike } from "../../../errors/signal.ts";
import { type Copyable, copyDimsOf, copyStrided } from "../../../tensor/copy-strided.ts";
import type { EngineRuntime } from "../module/engine-memory.ts";
import type { Variant } from "../module/features.ts";
import type { Runtime } from "../module/runtime.ts";
import { planAttention } from "../plans/attention.ts";
import { copyIn, copyOut } from "../plans/copies.ts";
import { planMerge } from "../plans/merge.ts";
import type { Machine, Plan, Planner, Stage } from "../plans/plan.ts";
import { planProduct } from "../plans/product.ts";
import { planRotary } from "../plans/rotary.ts";
import { forgetPlans, planRows } from "../plans/rows.ts";
import { planSampling } from "../plans/sampling.ts";
import { planScores } from "../plans/scores.ts";
import { type Cost, TUNING, type Tuning, costOf, threadsFor } from "../plans/schedule.ts";
import { alone, checkOperands, isEmpty, outputsOf, runPlan, tensorsOf } from "./compute.ts";
import { Lease, type ThreadScratch, writeTasks } from "./job-tables.ts";
import { type WorkerPool, yieldToEvents } from "./pool.ts";

/** The planner for each kind of call. */
const PLANNERS: Readonly<Record<CallKind, Planner<never>>> = {
  rows: planRows,
  attention: planAttention,
  scores: planScores,
  merge: planMerge,
  sampling: planSampling,
  product: planProduct,
  rotary: planRotary,
};

/** A call that takes longer than this on one thread runs task by task if a signal may stop it, or if a page would freeze otherwise. */
const LONG_NS = 20e6;
/** Scratch of a stage on several threads: enough for most calls to be one stage, while large calls keep the shared memory small. */
const STAGE_BYTES = 40 << 20;

const NO_ARRAYS: UsedArrays = { operands: {}, results: {} };

/** A call, the places for its results, and the signal that may stop it. */
interface Job {
  readonly call: Call;
  readonly outputs: Readonly<Record<string, Output>>;
  readonly signal: AbortSignalLike | undefined;
}

/**
 * The CPU as an engine sees it: calls over one memory, each on as many threads as it is worth. The caller's arrays are read before a
 * method returns, tensors in module memory when it is the call's turn. Calls run in the order in which they were made; short ones run
 * at once if no other is waiting.
 */
export class Cpu {
  /** The runtime whose memory the threads share. Tensors in it are used in place. */
  readonly runtime: EngineRuntime;
  readonly #pool: WorkerPool;
  readonly #local: Runtime;
  readonly #reasons: readonly string[];
  readonly #tuning: Tuning;
  readonly #order = new CallOrder();
  #disposed = false;
  #ended: Promise<void> = Promise.resolve();

  /** @internal */
  constructor(runtime: EngineRuntime, pool: WorkerPool, local: Runtime, reasons: readonly string[], tuning = TUNING) {
    this.runtime = runtime;
    this.#pool = pool;
    this.#local = local;
    this.#reasons = reasons;
    this.#tuning = tuning;
  }

  get variant(): Variant {
    return this.runtime.variant;
  }

  /** Memory of the kernels: the one for tensors and threads, plus the one for calls on the calling thread alone. */
  get memoryBytes(): number {
    const runtimes = new Set([this.runtime, this.#local]);
    return [...runtimes].reduce((bytes, { memory }) => bytes + memory.byteLength, 0);
  }

  /** The threads that compute at present: the workers, plus the calling thread if it may wait for them. */
  get threads(): number {
    return this.#pool.threads;
  }

  /** Why there are fewer threads than asked for; empty if there are enough. */
  get reasons(): readonly string[] {
    return [...this.#reasons, ...this.#pool.reasons];
  }

  /** Whether no call is running or waiting. */
  get idle(): boolean {
    return !this.#order.busy;
  }

  /** How many threads would share a call. */
  threadsFor(call: Call): number {
    return this.#worth(costOf(workOf(call)));
  }

  /**
   * Runs a call.
   *
   * @returns what the call returns, or a promise of it if the call continues after this returns
   * @throws (or rejects with) TypeError or UnsupportedError if the CPU cannot use an operand, BackendError, DisposedError, or the
   *   signal's reason
   */
  run<C extends Call>(call: C, signal?: AbortSignalLike): Returned<C> | Promise<Returned<C>> {
    checkOperands(call);
    this.#check(signal);
    const outputs = outputsOf(call);
    const result = (): Returned<C> => tensorsOf(outputs) as Returned<C>;
    if (isEmpty(call)) return result();
    if (!this.idle) return this.#enqueue({ call: snapshot(call, this.runtime.memory), outputs, signal }).then(result);
    const running = this.#start({ call, outputs, signal });
    return running === undefined ? result() : this.#inside(call, this.#order.enter(), () => running).then(result);
  }

  /** Does something to module memory, which the caller holds, after all earlier calls. A promise if it has to wait. @throws DisposedError */
  inTurn(work: () => void): Promise<void> | undefined {
    this.#check(undefined);
    if (this.idle) {
      work();
      return undefined;
    }
    const place = this.#order.enter();
    return this.#inside(NO_ARRAYS, place, async () => {
      await place.turn;
      this.#check(undefined);
      work();
    });
  }

  /** Ends the workers. Running and waiting calls reject with DisposedError, and tensors in module memory lose their numbers. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#ended = this.#pool.dispose();
    this.runtime.memory.end();
    for (const { memory } of [this.runtime, this.#local]) forgetPlans(memory);
  }

  /** Resolves when no worker is left after `dispose`. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  #worth(cost: Cost): number {
    return threadsFor(cost, this.#pool.threads, this.#tuning);
  }

  #check(signal: AbortSignalLike | undefined): void {
    if (this.#disposed) throw new DisposedError("this engine has been disposed");
    if (signal?.aborted) throw signal.reason;
  }

  /** Runs a call after all earlier ones have ended. */
  #enqueue(job: Job): Promise<void> {
    const place = this.#order.enter();
    return this.#inside(job.call, place, async () => {
      await waitForTurn(place.turn, job.signal);
      this.#check(job.signal);
      await this.#start(job);
    });
  }

  /** Keeps a call's place, and the memory that it uses, until it has settled. */
  async #inside(uses: UsedArrays, place: { leave(): void }, run: () => Promise<void>): Promise<void> {
    const release = holdMemory(uses);
    try {
      await run();
    } finally {
      place.leave();
      release();
    }
  }

  /** Runs a call when it is its turn. `undefined` if the call has ended and nothing is left to write. */
  #start(job: Job): Promise<void> | undefined {
    const { call, signal } = job;
    const cost = costOf(workOf(call));
    const threads = this.#worth(cost);
    const divided = threads > 1 || (cost.computeNs > LONG_NS && (signal !== undefined || !this.#pool.mayBlock));
    if (divided) {
      try {
        return this.#divide(job, threads);
      } catch (error) {
        // There is no memory for all of it: do it bit by bit, on one thread.
        if (!(error instanceof BackendError)) throw error;
      }
    }
    const runtime = this.#usesModule(job) ? this.runtime : this.#local;
    const { outputs, finish } = this.#ownOutputs(job);
    runPlan(runtime, planOf(call, outputs, alone(runtime)));
    return finish && Promise.resolve().then(finish);
  }

  /** Whether any operand or result lies in the engine's memory, so that only its own runtime can run the call. */
  #usesModule({ call, outputs }: Job): boolean {
    const { memory } = this.runtime;
    return [...Object.values(call.operands), ...Object.values(outputs)].some((array) => array?.data.owner === memory);
  }

  /**
   * New arrays in place of those that the caller can see, for a call that writes before it settles, and a function that moves the
   * results to where the caller wants them, if needed.
   */
  #ownOutputs({ call, outputs }: Job): { readonly outputs: Job["outputs"]; readonly finish: (() => void) | undefined } {
    const own: Record<string, Output> = { ...outputs };
    const copies: (() => void)[] = [];
    for (const [name, to] of Object.entries(outputs)) {
      const result = call.results[name];
      if (result?.out === undefined || to.data.owner === this.runtime.memory) continue;
      const from = (own[name] = newOutput(result.shape, to.data.dtype));
      const dims = copyDimsOf(result.shape, from.strides, to.strides);
      copies.push(() => copyStrided(from.data.view() as unknown as Copyable, 0, to.data.view() as unknown as Copyable, 0, dims));
    }
    return { outputs: own, finish: copies.length === 0 ? undefined : () => copies.forEach((copy) => copy()) };
  }

  /** Gives a call to the pool, stage by stage. @throws BackendError if there is no memory for it; nothing has happened then */
  #divide(job: Job, threads: number): Promise<void> | undefined {
    const { call, signal } = job;
    const { memory } = this.runtime;
    const machine: Machine = { memory, threads, divides: true, stageBytes: STAGE_BYTES, tuning: this.#tuning };
    const whole = new Division(this.runtime, this.#pool, planOf(call, job.outputs, machine), threads, signal);
    if (whole.isSingle) return whole.run();
    whole.free();
    // Later stages read what the caller may have changed by then, and must not write where it shows before all stages have ended.
    const { outputs, finish } = this.#ownOutputs(job);
    const division = new Division(this.runtime, this.#pool, planOf(snapshot(call, memory), outputs, machine), threads, signal);
    return division.runAll(() => this.#check(signal)).then(finish);
  }
}

function planOf(call: Call, outputs: Job["outputs"], machine: Machine): Plan {
  return PLANNERS[call.kind](call as never, outputs, machine);
}

/** A plan that a pool carries out. */
class Division {
  readonly #runtime: EngineRuntime;
  readonly #pool: WorkerPool;
  readonly #threads: number;
  readonly #signal: AbortSignalLike | undefined;
  readonly #lease: Lease;
  readonly #scratch: ThreadScratch;
  readonly #next: () => Stage | undefined;
  readonly #first: Stage | undefined;
  readonly #second: Stage | undefined;

  /** @throws BackendError if there is no memory for a stage */
  constructor(runtime: EngineRuntime, pool: WorkerPool, plan: Plan, threads: number, signal: AbortSignalLike | undefined) {
    this.#runtime = runtime;
    this.#pool = pool;
    this.#threads = threads;
    this.#signal = signal;
    this.#lease = new Lease(runtime.memory);
    try {
      const bytes = Math.ceil(plan.threadBytes / 64) * 64;
      this.#scratch = { address: this.#lease.take(bytes * pool.slots), bytes };
      this.#next = plan.stages(this.#lease.take(plan.stageBytes));
    } catch (error) {
      this.#lease.free();
      throw error;
    }
    this.#first = this.#next();
    this.#second = this.#next();
  }

  /** Whether there is at most one stage. */
  get isSingle(): boolean {
    return this.#second === undefined;
  }

  /** Runs the only stage. */
  run(): Promise<void> | undefined {
    try {
      return this.#first && this.#run(this.#first).finally(() => this.free());
    } catch (error) {
      this.free();
      throw error;
    }
  }

  /** Runs all stages, and lets events happen in between. `check` throws to stop. */
  async runAll(check: () => void): Promise<void> {
    try {
      for (let stage = this.#first, after = this.#second; stage !== undefined; stage = after, after = this.#next()) {
        await this.#run(stage);
        await yieldToEvents();
        check();
      }
    } finally {
      this.free();
    }
  }

  free(): void {
    this.#lease.free();
  }

  /** Runs a stage; its results are copied out when the promise settles. @throws BackendError if there is no memory for its tables */
  #run({ tables, in: into, tasks, conclude, out }: Stage): Promise<void> {
    const runtime = this.#runtime;
    const { memory } = runtime;
    const lease = new Lease(memory);
    try {
      const written = writeTasks(lease, this.#pool.kernelNumbers, tasks, this.#scratch);
      for (const { address, words } of tables) memory.i32.set(words, address / 4);
      for (const copy of into) copyIn(runtime, copy);
      const running = this.#pool.run(written, this.#threads, this.#signal) ?? Promise.resolve();
      return running
        .then(() => {
          conclude?.(memory);
          for (const copy of out) copyOut(runtime, copy);
        })
        .finally(() => lease.free());
    } catch (error) {
      lease.free();
      throw error;
    }
  }
}
