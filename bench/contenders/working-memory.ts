import type { HeadSizes } from "../../test/cases/shapes.ts";
import { createInstance, type ModuleMemory } from "../../src/testing/testing.ts";
import type { WorkingMemory } from "../measure/contender.ts";
import { draw } from "../measure/problem.ts";
import { inMemory, onArrays } from "./onepass.ts";

/** What one call takes beyond its inputs and output, on a fresh instance. */
export function workingMemory(call: HeadSizes): WorkingMemory {
  const instance = createInstance();
  const problem = draw(call);
  const [plain, own] = [onArrays, inMemory].map((place) => {
    const runner = place(instance, problem);
    const bytes = peakScratch(instance.memory, runner.run);
    runner.dispose?.();
    return bytes;
  });
  return { plainBytes: plain ?? NaN, scratchBytes: own ?? NaN, matrixBytes: 4 * call.heads * call.queries * call.keys };
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
