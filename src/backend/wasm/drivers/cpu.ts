import type { AbortSignalLike } from "../../../errors/signal.ts";
import { type AttentionCall, hostAttentionCall, outputView } from "../../../calls/attention-call.ts";
import { BackendError, DisposedError } from "../../../errors/errors.ts";
import { type MapCall, mapAttentionCall, mapRowCall } from "../../../calls/map-call.ts";
import { CallOrder, waitForTurn } from "../../../calls/call-order.ts";
import { newOutput } from "../../../calls/arguments.ts";
import { type RowCall, hostRowCall } from "../../../calls/row-call.ts";
import { elementCount } from "../../../tensor/shape.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { runAttention } from "../plans/attention.ts";
import { attentionCost, attentionJob } from "../plans/attention-job.ts";
import type { EngineRuntime } from "../module/engine-memory.ts";
import type { Variant } from "../module/features.ts";
import { holdIn, keepIn } from "../module/held-tensors.ts";
import { type Job, Lease, writeJob } from "../plans/job.ts";
import type { WorkerPool } from "./pool.ts";
import { rowOperation } from "../plans/row-calls.ts";
import { type RowOperation, runRows } from "../plans/rows.ts";
import { rowsCost, rowsJob } from "../plans/rows-job.ts";
import type { Runtime } from "../module/runtime.ts";
import { type Cost, TUNING, type Tuning, threadsFor } from "../plans/schedule.ts";

/** Attention with its log-sum-exp. */
export interface OutAndLse {
  readonly out: Tensor<"f32">;
  readonly lse: Tensor<"f32">;
}

/** A result that is there, or will be. */
type Eventual<T> = Promise<T> | T;

/** A call as it waits for its turn. */
interface Turn<T> {
  readonly signal: AbortSignalLike | undefined;
  /** Computes; a promise if that goes on after it has returned. */
  readonly run: () => Promise<void> | undefined;
  /** Brings the result to where the caller wants it. */
  readonly finish: () => T;
  /** Whatever happens. */
  readonly end: () => void;
}

/** What a call is to the queue. */
interface Operation<C, T> {
  readonly call: C;
  readonly map: MapCall<C>;
  readonly cost: Cost;
  /** Whether any operand lies in the runtime's memory, so that only this runtime can run it. */
  readonly inModule: boolean;
  /** Runs it on the calling thread at once. */
  readonly now: (runtime: Runtime) => T;
  /** The same later, by what has become of its call. */
  readonly later: (runtime: Runtime, call: C) => T;
  readonly job: (lease: Lease, call: C, threads: number) => Job & { readonly finish: () => void };
  readonly result: () => T;
}

/** Computing on one thread that takes so long goes task by task where a signal may stop it, or where a page would stand still. */
const LONG_NS = 20e6;

/**
 * The CPU as an engine sees it: operations over one memory, on as many threads as a call is worth. Arrays of the caller's are read
 * before a method returns, tensors in module memory when the call's turn has come; calls run in the order in which they were made, and
 * those that are short run at once if none is waiting.
 */
export class Cpu {
  /** The runtime whose memory the threads share: for tensors that are used in place. */
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

  /** Memory of the kernels: that of tensors and threads, and that of calls on the calling thread alone. */
  get memoryBytes(): number {
    const runtimes = new Set([this.runtime, this.#local]);
    return [...runtimes].reduce((bytes, { memory }) => bytes + memory.byteLength, 0);
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
    return !this.#order.busy;
  }

  /** How many threads a call would be shared by. */
  threadsFor(given: RowCall | AttentionCall): number {
    if ("sequences" in given) return this.#worth(attentionCost(this.runtime.memory, hostAttentionCall(given)));
    const call = hostRowCall(given);
    return this.#worth(rowsCost(this.runtime, rowOperation(call, call.out ?? newOutput([], call.x.dtype))));
  }

  /** Runs a row operation. */
  rows(given: RowCall, signal?: AbortSignalLike): Eventual<Tensor<"f32" | "f64">> {
    const call = hostRowCall(given);
    this.#check(signal);
    const out = call.out ?? newOutput(call.shape, call.x.dtype);
    if (elementCount(call.shape) === 0) return out.tensor;
    const operation = rowOperation(call, out);
    const run = (runtime: Runtime, o: RowOperation): typeof out.tensor => {
      runRows(runtime, o);
      return out.tensor;
    };
    return this.#run(
      {
        call: { ...call, out },
        map: mapRowCall,
        cost: rowsCost(this.runtime, operation),
        inModule: this.#owns(operation.x, operation.y, operation.bias, operation.mask),
        now: (runtime) => run(runtime, operation),
        later: (runtime, c) => run(runtime, rowOperation(c, c.out)),
        job: (lease, c, threads) => rowsJob(this.runtime, lease, rowOperation(c, c.out), threads, this.#tuning),
        result: () => out.tensor,
      },
      signal,
    );
  }

  /** Runs attention. */
  attention(given: AttentionCall, signal?: AbortSignalLike): Eventual<Tensor<"f32"> | OutAndLse> {
    const { result, ...scores } = hostAttentionCall(given);
    this.#check(signal);
    const output = result.out ?? newOutput(result.shape, "f32");
    const call = { ...scores, result: { ...result, out: output } };
    const out = output.tensor as Tensor<"f32">;
    const lse = result.lse && { ...result.lse, data: new Float32Array(elementCount(result.lse.shape)) };
    const resultOf = (): Tensor<"f32"> | OutAndLse => (lse === undefined ? out : { out, lse: { data: lse.data, shape: lse.shape, dtype: "f32" } });
    if (elementCount(result.shape) === 0) return resultOf();
    const targetOf = (c: typeof call) => ({ out: outputView(c.result.out, c.result), lse });
    const run = (runtime: Runtime, c: typeof call): Tensor<"f32"> | OutAndLse => {
      runAttention(runtime, c, targetOf(c));
      return resultOf();
    };
    return this.#run(
      {
        call,
        map: mapAttentionCall,
        cost: attentionCost(this.runtime.memory, call),
        inModule: this.#owns(call.q.data, call.k.data, call.v.data, call.bias?.data, call.mask?.data, output.data),
        now: (runtime) => run(runtime, call),
        later: run,
        job: (lease, c, threads) => attentionJob(this.runtime.memory, lease, c, targetOf(c), threads, this.#tuning),
        result: resultOf,
      },
      signal,
    );
  }

  /** Runs anything else on the calling thread when every call before it has ended: at once if there is none. */
  inTurn<C, T>(call: C, map: MapCall<C>, run: (runtime: Runtime, call: C) => T, signal?: AbortSignalLike): Eventual<T> {
    this.#check(signal);
    if (this.idle) return run(this.runtime, call);
    return this.#enqueueDirect(call, map, (c) => run(this.runtime, c), signal);
  }

  /** Ends the workers; calls that run or wait reject with DisposedError, and tensors in module memory have no numbers any more. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#ended = this.#pool.dispose();
    this.runtime.memory.end();
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

  #owns(...arrays: readonly (ArrayBufferView | undefined)[]): boolean {
    return arrays.some((array) => array !== undefined && this.runtime.memory.addressOf(array) >= 0);
  }

  #run<C, T>(operation: Operation<C, T>, signal: AbortSignalLike | undefined): Eventual<T> {
    const { call, map, cost, inModule, now, later } = operation;
    const threads = this.#worth(cost);
    const direct = inModule ? this.runtime : this.#local;
    const divided = threads > 1 || (cost.computeNs > LONG_NS && (signal !== undefined || !this.#pool.mayBlock));
    if (this.idle && !divided) return now(direct);
    // Making a job takes memory.
    const hold = holdIn(this.runtime.memory);
    const held = map(call, hold, hold);
    const turn = this.#turn(operation, held, threads, signal);
    if (turn !== undefined) return this.idle ? this.#begin(turn) : this.#enqueue(turn);
    // None left for a job: on one thread, which needs little.
    if (this.idle) return later(direct, held);
    return this.#enqueueDirect(held, map, (c) => later(direct, c), signal);
  }

  /** Makes a job of a call: the caller's arrays have been read when it returns. Undefined if there is no memory for it. */
  #turn<C, T>(operation: Operation<C, T>, held: C, threads: number, signal: AbortSignalLike | undefined): Turn<T> | undefined {
    const pool = this.#pool;
    const { memory } = this.runtime;
    for (;;) {
      const { byteLength } = memory;
      const lease = new Lease(memory);
      try {
        const job = operation.job(lease, held, threads);
        const tables = writeJob(lease, pool.kernelNumbers, job, pool.slots);
        if (memory.byteLength === byteLength) {
          lease.readArrays();
          return {
            signal,
            run: () => {
              lease.readMemory();
              // Of a signal, the pool uses what all of them have.
              return pool.run(tables, threads, signal as AbortSignal | undefined);
            },
            finish: () => {
              job.finish();
              return operation.result();
            },
            end: () => lease.free(),
          };
        }
      } catch (error) {
        lease.free();
        if (error instanceof BackendError) return undefined;
        throw error;
      }
      // Growth may have detached views that the job was made of. Once more, now that there is room for it.
      lease.free();
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
    return this.#inside(this.#order.enter(), turn, () => running.then(() => turn.finish()));
  }

  /** Runs a call when all before it have ended. */
  #enqueue<T>(turn: Turn<T>): Promise<T> {
    const place = this.#order.enter();
    return this.#inside(place, turn, async () => {
      await waitForTurn(place.turn, turn.signal);
      this.#check(turn.signal);
      await turn.run();
      return turn.finish();
    });
  }

  /** The same on the calling thread, without a job. */
  #enqueueDirect<C, T>(call: C, map: MapCall<C>, run: (call: C) => T, signal: AbortSignalLike | undefined): Promise<T> {
    const { memory } = this.runtime;
    const kept = map(call, keepIn(memory), holdIn(memory));
    return this.#enqueue({ signal, run: () => undefined, finish: () => run(kept), end: () => undefined });
  }

  /** Keeps a call's place, and memory where it is, until the call has settled. */
  async #inside<T>(place: { leave(): void }, turn: Turn<T>, run: () => Promise<T>): Promise<T> {
    const { memory } = this.runtime;
    memory.enter();
    try {
      return await run();
    } finally {
      turn.end();
      place.leave();
      memory.leave();
    }
  }
}
