import { BackendError, describe } from "../../../errors/errors.ts";
import { EngineMemory, limitsOf } from "./engine-memory.ts";

/** How far a shared memory may grow by default. Each one reserves its maximum of address space, and phones have little of that. */
export const DEFAULT_MAXIMUM_BYTES = 1 << 30;
/** If the maximum cannot be reserved it is halved, down to this. */
const SMALLEST_MAXIMUM_BYTES = 1 << 26;

/**
 * Reserves shared memory: the size asked for, or as much of it as there is.
 *
 * @throws BackendError if there is none, with the engine's reason
 */
export function createSharedMemory(maximumBytes: number): EngineMemory {
  let reason: unknown;
  for (let bytes = maximumBytes; bytes >= Math.min(maximumBytes, SMALLEST_MAXIMUM_BYTES); bytes /= 2) {
    try {
      return new EngineMemory(new WebAssembly.Memory({ ...limitsOf(bytes), shared: true }));
    } catch (error) {
      reason = error;
    }
  }
  throw new BackendError(`no shared WebAssembly memory: ${reason instanceof Error ? reason.message : describe(reason)}`, { cause: reason });
}
