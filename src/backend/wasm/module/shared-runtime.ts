import type { EngineRuntime } from "./engine-memory.ts";
import type { Variant } from "./features.ts";
import { binaryOf, createRuntime } from "./runtime.ts";
import { shareMemoryOf } from "./shared-binary.ts";
import { createSharedMemory } from "./shared-memory.ts";

/** A runtime whose memory workers share. */
export interface SharedRuntime extends EngineRuntime {
  /** What the workers instantiate too. */
  readonly module: WebAssembly.Module;
}

/**
 * Compiles and instantiates a binary over shared memory.
 *
 * @throws BackendError if no shared memory can be had, or what the engine throws if it may not compile or link
 */
export function createSharedRuntime(variant: Variant, maximumBytes: number, given?: WebAssembly.Module): SharedRuntime {
  const memory = createSharedMemory(maximumBytes);
  const module = given ?? new WebAssembly.Module(shareMemoryOf(binaryOf(variant)));
  return { ...createRuntime(variant, memory, module), memory, module };
}
