import { type AttentionCall, type HostAttentionCall, type HostScoreCall, type ScoreCall, hostAttentionCall, outputView } from "../../attention-arguments.ts";
import { BackendError, DisposedError } from "../../errors.ts";
import { newOutput } from "../../row-arguments.ts";
import { type RowCall, hostRowCall } from "../../row-call.ts";
import { elementCount } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { type AttentionResult, runAttention } from "./attention.ts";
import { attentionCost, attentionJob } from "./attention-job.ts";
import type { Variant } from "./features.ts";
import { type Job, Lease, writeJob } from "./job.ts";
import type { WorkerPool } from "./pool.ts";
import { rowOperation } from "./row-calls.ts";
import { type RowOperation, runRows } from "./rows.ts";
import { rowsCost, rowsJob } from "./rows-job.ts";
import type { Runtime } from "./runtime.ts";
import { type Cost, TUNING, type Tuning, threadsFor } from "./schedule.ts";
import { SharedMemory } from "./shared-memory.ts";

/** Attention with its log-sum-exp. */
export interface OutAndLse {
  readonly out: Tensor<"f32">;
  readonly lse: Tensor<"f32">;
}

/** A result that is there, or will be. */
type Eventual<T> = Promise<T> | T;

/** A call as it waits for its turn. */
interface Turn<T> {
  readonly signal: AbortSignal | undefined;
  /** Computes; a promise if that goes on after it has returned. */
  readonly run: () => Promise<void> | undefined;
  /** Brings the result to where the caller wants it. */
  readonly finish: () => T;
  /** Whatever happens. */
  readonly end: () => void;
}

/** What a call is to the queue. */
interface Operation<T> {
  readonly cost: Cost;
  /** Whether any operand lies in the runtime's memory, so that only this runtime can run it. */
  readonly inModule: boolean;
  /** Runs it on the calling thread at once. */
  readonly direct: (runtime: Runtime) => T;
  /** The same for later: arrays of the caller's are copied now. */
  readonly detached: () => (runtime: Runtime) => T;
  readonly job: (lease: Lease, threads: number) => Job & { readonly finish: () => void };
  readonly result: () => T;
}

/** Work on one thread that is worth stopping between tasks when there is a signal. */
const STOPPABLE_NS = 20e6;

/**
 * The CPU as an engine sees it: operations over one memory, on as many threads as a call is worth. Arrays of the caller's are read
 * before a method returns, tensors in module memory when the call's turn has come; calls run in the order in which they were made, and
 * those that are short run at once if none is waiting.
 */
export class Cpu {
  /** The runtime whose memory the threads share: for tensors that are used in place. */
  readonly runtime: Runtime;
  readonly #pool: WorkerPool;
  readonly #local: Runtime;
  readonly #reasons: readonly string[];
  readonly #tuning: Tuning;
  #waiting = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #disposed = false;
  #ended: Promise<void> = Promise.resolve();

  /** @internal */
  constructor(runtime: Runtime, pool: WorkerPool, local: Runtime, reasons: readonly string[], tuning = TUNING) {
    this.runtime = runtime;
    this.#pool = pool;
    this.#local = local;
    this.#reasons = reasons;
    this.#tuning = tuning;
  }

  get variant(): Variant {
    return this.runtime.variant;
  }

  /** Threads that compute now: the workers, and the calling thread where it may wait for them. */
  get threads(): number {
    return this.#pool.threads;
  }

  /** Why there are fewer threads than asked for; empty if there are not. */
  get reasons(): readonly string[] {
    return [...this.#reasons, ...this.#pool.reasons];
  }

  /** Whether no call runs or waits. */
  get idle(): boolean {
    return this.#waiting === 0;
  }

  /** How many threads a call would be shared by. */
  threadsFor(given: RowCall | AttentionCall): number {
    if ("sequences" in given) return this.#worth(attentionCost(this.runtime.memory, hostAttentionCall(given)));
    const call = hostRowCall(given);
    return this.#worth(rowsCost(this.runtime, rowOperation(call, call.out ?? newOutput([], call.x.dtype))));
  }

  /** Runs a row operation. */
  rows(given: RowCall, signal?: AbortSignal): Eventual<Tensor<"f32" | "f64">> {
    const call = hostRowCall(given);
    this.#check(signal);
    const out = call.out ?? newOutput(call.shape, call.x.dtype);
    if (elementCount(call.shape) === 0) return out.tensor;
    const operation = rowOperation(call, out);
    const { x, y, bias, mask } = operation;
    const direct = (o: RowOperation) => (runtime: Runtime) => {
      runRows(runtime, o);
      return out.tensor;
    };
    return this.#run(
      {
        cost: rowsCost(this.runtime, operation),
        inModule: this.#owns(x, y, bias, mask),
        direct: direct(operation),
        detached: () => direct({ ...operation, x: this.#keep(x), bias: bias && this.#keep(bias), mask: mask && this.#keep(mask) }),
        job: (lease, threads) => rowsJob(this.runtime, lease, operation, threads, this.#tuning),
        result: () => out.tensor,
      },
      signal,
    );
  }

  /** Runs attention. */
  attention(given: AttentionCall, signal?: AbortSignal): Eventual<Tensor<"f32"> | OutAndLse> {
    const call = hostAttentionCall(given);
    this.#check(signal);
    const { result } = call;
    const output = result.out ?? newOutput(result.shape, "f32");
    const out = output.tensor as Tensor<"f32">;
    const lse = result.lse && { ...result.lse, data: new Float32Array(elementCount(result.lse.shape)) };
    const resultOf = (): Tensor<"f32"> | OutAndLse => (lse === undefined ? out : { out, lse: { data: lse.data, shape: lse.shape, dtype: "f32" } });
    if (elementCount(result.shape) === 0) return resultOf();
    const target: AttentionResult = { out: outputView(output, result), lse };
    const direct = (c: HostAttentionCall) => (runtime: Runtime) => {
      runAttention(runtime, c, target);
      return resultOf();
    };
    return this.#run(
      {
        cost: attentionCost(this.runtime.memory, call),
        inModule: this.#owns(call.q.data, call.k.data, call.v.data, call.bias?.data, call.mask?.data, output.data),
        direct: direct(call),
        detached: () => direct(this.#keepScores(call)),
        job: (lease, threads) => attentionJob(this.runtime.memory, lease, call, target, threads, this.#tuning),
        result: resultOf,
      },
      signal,
    );
  }

  /** Runs anything else over the scores of a call on the calling thread, in its turn. */
  scores<C extends ScoreCall & HostScoreCall, T>(call: C, run: (runtime: Runtime, call: C) => T, signal?: AbortSignal): Eventual<T> {
    this.#check(signal);
    const kept = this.idle ? call : this.#keepScores(call);
    return this.inTurn((runtime) => run(runtime, kept), signal);
  }

  /** Calls `run` on the calling thread when every call before it has ended: at once if there is none. */
  inTurn<T>(run: (runtime: Runtime) => T, signal?: AbortSignal): Eventual<T> {
    this.#check(signal);
    if (this.idle) return run(this.runtime);
    return this.#enqueue({ signal, run: () => undefined, finish: () => run(this.runtime), end: () => undefined });
  }

  /** Ends the workers; calls that run or wait reject with DisposedError. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#ended = this.#pool.dispose();
  }

  /** Resolves when no worker is left after `dispose`. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  #worth(cost: Cost): number {
    return threadsFor(cost, this.#pool.threads, this.#tuning);
  }

  #check(signal: AbortSignal | undefined): void {
    if (this.#disposed) throw new DisposedError("this engine has been disposed");
    signal?.throwIfAborted();
  }

  #owns(...arrays: readonly (ArrayBufferView | undefined)[]): boolean {
    return arrays.some((array) => array !== undefined && this.runtime.memory.addressOf(array) >= 0);
  }

  /** What an operand is now, for later; module memory is looked at later. */
  #keep<A extends RowOperation["x"] | Uint8Array>(array: A): A {
    return this.#owns(array) ? array : (array.slice() as A);
  }

  #keepScores<C extends HostScoreCall>(call: C): C {
    const { q, k, v, bias, mask } = call;
    return {
      ...call,
      q: { ...q, data: this.#keep(q.data) },
      k: { ...k, data: this.#keep(k.data) },
      v: { ...v, data: this.#keep(v.data) },
      bias: bias && { ...bias, data: this.#keep(bias.data) },
      mask: mask && { ...mask, data: this.#keep(mask.data) },
    };
  }

  #run<T>(operation: Operation<T>, signal: AbortSignal | undefined): Eventual<T> {
    const { cost, inModule } = operation;
    const threads = this.#worth(cost);
    const direct = inModule ? this.runtime : this.#local;
    const stoppable = signal !== undefined && cost.computeNs > STOPPABLE_NS;
    if (this.idle && threads === 1 && !stoppable) return operation.direct(direct);
    const turn = this.#turn(operation, threads, signal);
    if (turn !== undefined) return this.idle ? this.#begin(turn) : this.#enqueue(turn);
    // No memory for a job: on one thread, which needs little.
    if (this.idle) return operation.direct(direct);
    const later = operation.detached();
    return this.#enqueue({ signal, run: () => undefined, finish: () => later(direct), end: () => undefined });
  }

  /** Makes a job of a call: the caller's arrays have been read when it returns. Undefined if there is no memory for it. */
  #turn<T>(operation: Operation<T>, threads: number, signal: AbortSignal | undefined): Turn<T> | undefined {
    const pool = this.#pool;
    const lease = new Lease(this.runtime.memory);
    try {
      const job = operation.job(lease, threads);
      const scratchBytes = Math.ceil(job.scratchBytes / 64) * 64;
      const scratch = lease.take(scratchBytes * pool.slots);
      const tables = writeJob(lease, this.runtime.kernels, job);
      lease.readArrays();
      return {
        signal,
        run: () => {
          lease.readMemory();
          return pool.run(tables, scratch, scratchBytes, threads, signal);
        },
        finish: () => {
          job.finish();
          return operation.result();
        },
        end: () => lease.free(),
      };
    } catch (error) {
      lease.free();
      if (error instanceof BackendError) return undefined;
      throw error;
    }
  }

  /** Runs a call whose turn it is. */
  #begin<T>(turn: Turn<T>): Eventual<T> {
    let running: Promise<void> | undefined;
    try {
      running = turn.run();
      if (running === undefined) return turn.finish();
    } finally {
      if (running === undefined) turn.end();
    }
    return this.#track(
      running.then(() => turn.finish()),
      turn,
    );
  }

  /** Runs a call when all before it have ended. */
  #enqueue<T>(turn: Turn<T>): Promise<T> {
    const run = async (): Promise<T> => {
      this.#check(turn.signal);
      await turn.run();
      return turn.finish();
    };
    return this.#track(this.#tail.then(run), turn);
  }

  /** Counts a call as waiting until it has settled. */
  #track<T>(result: Promise<T>, turn: Turn<T>): Promise<T> {
    const { memory } = this.runtime;
    this.#waiting++;
    if (memory instanceof SharedMemory) memory.enter();
    const settled = result.finally(() => {
      turn.end();
      this.#waiting--;
      if (memory instanceof SharedMemory) memory.leave();
    });
    this.#tail = settled.catch(() => undefined);
    return settled;
  }
}
