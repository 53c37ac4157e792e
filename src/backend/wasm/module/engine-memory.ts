import { DisposedError } from "../../../errors/errors.ts";
import { INITIAL_PAGES, MAXIMUM_PAGES, ModuleMemory } from "./memory.ts";
import type { Runtime } from "./runtime.ts";

const PAGE = 65536;
/** What kernels and the tables of threads need (1.1 MiB), with some to spare. */
export const LEAST_MEMORY_BYTES = 2 << 20;

/** The limits of a memory that may grow to `bytes`, which is at least LEAST_MEMORY_BYTES. */
export function limitsOf(bytes: number): { readonly initial: number; readonly maximum: number } {
  return { initial: INITIAL_PAGES, maximum: Math.min(MAXIMUM_PAGES, Math.floor(bytes / PAGE)) };
}

/** An engine's kernels with their memory. */
export type EngineRuntime = Runtime<EngineMemory>;

/** An engine's module memory. It ends with the engine. */
export class EngineMemory extends ModuleMemory {
  #ended = false;

  /** @throws DisposedError after `end` */
  override get f32(): Float32Array {
    this.#check();
    return super.f32;
  }

  /** @throws DisposedError after `end` */
  override get buffer(): ArrayBufferLike {
    this.#check();
    return super.buffer;
  }

  /** @throws DisposedError after `end` */
  override get f64(): Float64Array {
    this.#check();
    return super.f64;
  }

  /** Ends all access to the numbers. */
  end(): void {
    this.#ended = true;
  }

  #check(): void {
    if (this.#ended) throw new DisposedError("this engine has been disposed");
  }
}
