import { CallOrder } from "../calls/call-order.ts";
import type { Call } from "../calls/call.ts";
import { disposeSymbol } from "../errors/dispose-symbol.ts";
import { type AbortSignalLike, takeSignal } from "../errors/signal.ts";
import type { AppendOptions, AttendOptions, KVCache } from "../ops/kv-cache.ts";
import type { ModuleOwner } from "../tensor/array.ts";
import { type TensorLike, toView } from "../tensor/tensor.ts";
import type { EngineAttention, Exactly, OnEngine } from "./types.ts";

/** What an engine does for its caches, in call order. */
export interface CacheHost {
  /** The memory that caches are in. */
  readonly memory: ModuleOwner;
  /** Writes to module memory. */
  write(work: () => void): Promise<void>;
  /** Runs a call. */
  run(call: Call, signal: AbortSignalLike | undefined): Promise<unknown>;
}

/**
 * A {@link KVCache} of an engine, whose threads compute `attend`. It is in the memory that they share, also if the engine has a GPU. Its calls
 * take effect in the order in which they were made; a call that fails rejects and leaves the cache as before. Made by `engine.kvCache`.
 */
export class EngineKVCache {
  readonly #cache: KVCache;
  readonly #host: CacheHost;
  readonly #order = new CallOrder();

  /** @internal */
  constructor(cache: KVCache, host: CacheHost) {
    this.#cache = cache;
    this.#host = host;
  }

  /** Tokens of each sequence, as the calls that have ended left them. */
  get lengths(): Int32Array {
    return this.#cache.lengths;
  }

  /** The most tokens of a sequence. */
  get capacity(): number {
    return this.#cache.capacity;
  }

  /** Bytes of module memory in use, including pages that forks share. */
  get bytes(): number {
    return this.#cache.bytes;
  }

  /**
   * Writes tokens behind those that are there.
   *
   * @throws (as a rejection, like every method) the errors of {@link KVCache.append} and those of an engine's methods
   */
  append(k: TensorLike, v: TensorLike, options?: AppendOptions): Promise<void> {
    return this.#inTurn([k, v, options] as const, (keys, values, given) => this.#host.write(() => void this.#cache.append(keys, values, given)));
  }

  /**
   * Attention of queries to the tokens appended so far.
   *
   * @param options - as for {@link KVCache.attend}, plus a `signal` that can cancel the call
   * @throws the errors of {@link KVCache.attend} and those of an engine's methods
   */
  attend<P extends OnEngine<AttendOptions> = object>(q: TensorLike, options?: Exactly<OnEngine<AttendOptions>, P>): Promise<EngineAttention<TensorLike, P>> {
    const attended = this.#inTurn([q, options] as const, (queries, given) => {
      const { signal, rest } = takeSignal(given);
      return this.#host.run(this.#cache.parseAttend(queries, rest), signal);
    });
    return attended as Promise<never>;
  }

  /**
   * Forgets all tokens from `length` on.
   *
   * @throws the errors of {@link KVCache.truncate}
   */
  truncate(length: number | Int32Array | readonly number[]): Promise<void> {
    return this.#inTurn([length] as const, (n) => void this.#cache.truncate(n));
  }

  /**
   * An independent cache of the same engine that shares the tokens appended so far.
   *
   * @throws the errors of {@link KVCache.fork}
   */
  fork(): Promise<EngineKVCache> {
    return this.#inTurn([], () => new EngineKVCache(this.#cache.fork(), this.#host));
  }

  /** Frees the memory once no call uses it any more. Calls that have not begun reject with DisposedError. */
  dispose(): void {
    this.#cache.dispose();
  }

  /** The same as {@link EngineKVCache.dispose}, for `using`. */
  [disposeSymbol](): void {
    this.dispose();
  }

  /** Does something after all earlier calls. If it has to wait, the caller's arrays are copied first. */
  async #inTurn<A extends readonly unknown[], T>(args: A, run: (...args: A) => T | Promise<T>): Promise<T> {
    const waits = this.#order.busy;
    const place = this.#order.enter();
    try {
      if (!waits) return await run(...args);
      const kept = args.map((arg) => keepArgument(arg, this.#host.memory)) as unknown as A;
      await place.turn;
      return await run(...kept);
    } finally {
      place.leave();
    }
  }
}

/** An argument that its caller can no longer change. What is in `memory` is read later. */
function keepArgument(value: unknown, memory: ModuleOwner): unknown {
  if (Array.isArray(value)) return value.slice() as unknown;
  if (ArrayBuffer.isView(value) || (typeof value === "object" && value !== null && "data" in value)) {
    const { data, shape, strides } = toView("x", value);
    const copy = data.snapshot(memory);
    if (copy === data) return value;
    const scales = copy.scales?.data.view();
    return { data: copy.view(), shape, dtype: copy.dtype, ...(scales === undefined ? { strides } : { scales }) };
  }
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, option]) => [name, name === "out" || name === "signal" ? option : keepArgument(option, memory)]));
}
