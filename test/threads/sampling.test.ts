import { afterAll, describe, expect, test } from "vitest";
import type { Cpu } from "../../src/backend/wasm/drivers/cpu.ts";
import { createInstance } from "../../src/testing/testing.ts";
import { tensor } from "../../src/index.ts";
import { numbers } from "../support/numbers.ts";
import { subjectOf } from "../support/subjects.ts";
import { COARSE, FINEST, startCpu, subjectOfCpu } from "../support/threads.ts";

// Rows are independent: the same tokens and bits for any number of threads.

const one = subjectOf(createInstance());
const [rows, cols] = [37, 1300];
const logits = tensor(numbers("normal", rows * cols), [rows, cols]);
const previous = Array.from({ length: rows }, (_, r) => [r, 2 * r, 2 * r]);

describe.each([
  [1, FINEST],
  [2, COARSE],
  [3, FINEST],
] as const)("%d threads", (threads, tuning) => {
  const started: Cpu[] = [];
  const subject = async () => {
    const cpu = await startCpu(threads, { tuning });
    started.push(cpu);
    return subjectOfCpu(cpu);
  };
  afterAll(() => started.forEach((cpu) => cpu.dispose()));

  test("give the same as one", async () => {
    const shared = await subject();
    for (const options of [{}, { topK: 20, topP: 0.9 }, { topP: 0.9, temperature: 3 }, { previous, presencePenalty: 2, logitBias: { 5: 9 } }]) {
      expect(await shared.sample(logits, { ...options, seed: 4 })).toEqual(await one.sample(logits, { ...options, seed: 4 }));
    }
    expect(await shared.topK(logits, 9)).toEqual(await one.topK(logits, 9));
    expect(await shared.topKSoftmax(logits, 9, { scale: 0.5 })).toEqual(await one.topKSoftmax(logits, 9, { scale: 0.5 }));
  });

  test("reject a row that cannot be sampled, and write nothing", async () => {
    const shared = await subject();
    const x = logits.data.slice();
    x[30 * cols + 5] = NaN;
    const out = { tokens: new Int32Array(rows).fill(-5), logProbs: new Float32Array(rows).fill(-5) };
    await expect(async () => shared.sample(tensor(x, [rows, cols]), { out })).rejects.toThrow(
      new RangeError('"logits" expected rows that can be sampled, but row 30 has NaN'),
    );
    expect(new Set([...out.tokens, ...out.logProbs])).toEqual(new Set([-5]));
  });
});
