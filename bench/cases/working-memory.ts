import { createInstance, type ModuleMemory } from "../../src/testing/testing.ts";
import type { TensorLike } from "../../src/tensor/tensor.ts";
import type { WorkingMemory } from "../contender.ts";
import { normalHeads, type HeadShape, type Modifiers } from "../heads.ts";
import { optionsOf } from "./onepass-attention.ts";

/** What one call takes beyond its inputs and output, on a fresh instance. The values do not matter, so they are zeros. */
export function workingMemory(shape: HeadShape, modifiers: Modifiers = {}): WorkingMemory {
  const { heads, kvHeads, queries, keys, dim } = shape;
  const instance = createInstance();
  const options = optionsOf(normalHeads({ ...shape, queries: 1, keys: 1 }, modifiers), undefined);
  const call = (make: (...size: readonly number[]) => TensorLike): number => {
    const q = make(heads, queries, dim);
    const k = make(kvHeads, keys, dim);
    const v = make(kvHeads, keys, dim);
    const out = make(heads, queries, dim);
    return peakScratch(instance.memory, () => instance.attention(q, k, v, { ...options, out }));
  };
  return {
    plainBytes: call((...size) => ({ data: new Float32Array(size.reduce((n, each) => n * each)), shape: size })),
    scratchBytes: call((...size) => instance.empty(size)),
    matrixBytes: 4 * heads * queries * keys,
  };
}

/** The most scratch that is in use at once during a call. `take` is where the library gets all of it: from its arena, or from the heap. */
function peakScratch(memory: ModuleMemory, call: () => unknown): number {
  const before = memory.usedBytes;
  const start = memory.mark().top;
  const take = memory.take.bind(memory);
  let peak = 0;
  memory.take = (bytes) => {
    const address = take(bytes);
    peak = Math.max(peak, memory.mark().top - start + memory.usedBytes - before);
    return address;
  };
  try {
    call();
    return peak;
  } finally {
    memory.take = take;
  }
}
