// "env", "memory" and the kind of the import. The limits of the memory follow; their first byte holds the flags.
const MEMORY_IMPORT = [3, 101, 110, 118, 6, 109, 101, 109, 111, 114, 121, 2];
const FLAG_SHARED = 2;

/**
 * Turns a binary into the one for shared memory, which differs in a single bit (scripts/check-wasm.ts asserts it).
 *
 * @throws RangeError if `bytes` do not import a memory
 */
export function shareMemoryOf(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const shared = bytes.slice();
  const at = shared.findIndex((_, i) => MEMORY_IMPORT.every((byte, j) => shared[i + j] === byte));
  if (at < 0) throw new RangeError("the binary does not import env.memory");
  const flags = at + MEMORY_IMPORT.length;
  shared[flags] = (shared[flags] ?? 0) | FLAG_SHARED;
  return shared;
}
