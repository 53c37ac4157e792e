import { BackendError, describe } from "../../../errors/errors.ts";
import { EngineMemory, limitsOf } from "./engine-memory.ts";

/** Default of what a shared memory may grow to. Every one reserves its maximum of address space, and phones have little of that. */
export const DEFAULT_MAXIMUM_BYTES = 1 << 30;
/** Where the maximum cannot be reserved it is halved, down to this. */
const SMALLEST_MAXIMUM_BYTES = 1 << 26;

/**
 * Reserves shared memory: what is asked for, or the largest part of it that can be had.
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
