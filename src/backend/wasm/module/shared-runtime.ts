import type { EngineRuntime } from "./engine-memory.ts";
import { loadAll } from "./families.ts";
import { binaryOf } from "./family.ts";
import type { Variant } from "./features.ts";
import { Runtime } from "./runtime.ts";
import { shareMemoryOf } from "./shared-binary.ts";
import { createSharedMemory } from "./shared-memory.ts";

/**
 * A runtime whose memory the workers share, with all families loaded.
 *
 * @throws BackendError if there is no shared memory, or what the engine throws if it may not compile or link
 */
export function createSharedRuntime(variant: Variant, maximumBytes: number, given?: WebAssembly.Module): EngineRuntime {
  const memory = createSharedMemory(maximumBytes);
  return loadAll(new Runtime(variant, memory, (family) => given ?? new WebAssembly.Module(shareMemoryOf(binaryOf(family, variant)))));
}
