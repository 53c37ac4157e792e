import { createBlockMask } from "../../src/ops/create-block-mask.ts";
import { describe, expect, test, vi } from "vitest";
import { type AttentionOptions, BackendError, type ScoreOptions, tensor } from "../../src/index.ts";
import { type Instance, createInstance } from "../../src/testing/testing.ts";
import { type AttentionSizes, attentionCase } from "../cases/attention.ts";
import { Placements, operandsFor, shapesOf } from "../support/attention.ts";
import { maskBytes, numbers } from "../support/numbers.ts";
import { type Home, subjectOf } from "../support/subjects.ts";
import { describeVariants } from "../support/variants.ts";

const MIB = 1 << 20;

/** Attention with everything in one place, and how many bytes of scratch the call took. */
async function scratchOf(instance: Instance, sizes: AttentionSizes, home: Home, options: Omit<AttentionOptions, "returnLse"> = {}): Promise<number> {
  const placements = new Placements(subjectOf(instance), home);
  const shapes = shapesOf(sizes);
  // What the numbers are does not matter here, and there are many.
  const [q, k, v, out] = [
    await placements.empty(shapes.q),
    await placements.empty(shapes.k),
    await placements.empty(shapes.v),
    await placements.empty(shapes.out),
  ];
  for (const { data } of [q, k, v]) data.fill(0.25);
  const take = vi.spyOn(instance.memory, "take");
  instance.attention(q, k, v, { ...options, out, returnLse: true });
  const taken = take.mock.calls.reduce((sum, [bytes]) => sum + bytes, 0);
  take.mockRestore();
  placements.dispose();
  return taken;
}

describeVariants("working memory of attention", (_, variant) => {
  test("at most 1 MiB for 8 heads × 32768 keys × 64, causal, in module memory", () => {
    const instance = createInstance(variant);
    const { memory } = instance;
    const cache = instance.empty([8, 32768, 64]);
    const [q, out] = [instance.empty([8, 64, 64]), instance.empty([8, 64, 64])];
    cache.data.fill(0.25);
    q.data.fill(0.5);
    const before = [memory.byteLength, memory.usedBytes];
    const take = vi.spyOn(memory, "take");
    // The same numbers as keys and values: it is their place that counts.
    instance.attention(q, cache, cache, { causal: true, out });
    expect(take.mock.calls.reduce((sum, [bytes]) => sum + bytes, 0)).toBeLessThanOrEqual(MIB);
    take.mockRestore();
    expect([memory.byteLength, memory.usedBytes]).toEqual(before);
    expect(out.data.every((v) => Math.abs(v - 0.25) < 1e-6)).toBe(true);
  });

  const OPTIONS: readonly (readonly [string, (sizes: AttentionSizes) => ScoreOptions])[] = [
    ["no option", () => ({})],
    ["causal and window", () => ({ causal: true, windowSize: [700, 0] })],
    ["bias and mask in arrays", ({ keys }) => ({ bias: numbers("normal", keys), mask: maskBytes(keys) })],
    ["blockMask", ({ queries, keys }) => ({ blockMask: createBlockMask((_b, _h, _q, k) => k % 5 !== 0, { queryLength: queries, keyLength: keys }) })],
  ];

  describe.each(OPTIONS)("with %s", (_, optionsFor) => {
    test.each([
      ["decode", 3],
      ["prefill", 70],
    ])("does not depend on the number of keys, %s", async (_, queries) => {
      const instance = createInstance(variant);
      const scratch: number[] = [];
      for (const keys of [100, 1100, 20_000]) {
        const sizes = attentionCase({ heads: 4, kvHeads: 2, queries, keys, dim: 16 });
        scratch.push(await scratchOf(instance, sizes, "module", optionsFor(sizes)));
      }
      expect(new Set(scratch).size, `bytes: ${scratch.join()}`).toBe(1);
      expect(scratch[0]).toBeLessThanOrEqual(MIB);
    });

    test("is for arrays that and one head of keys and values", async () => {
      const instance = createInstance(variant);
      for (const keys of [1100, 20_000]) {
        const sizes = attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 3, keys, dim: 16, valueDim: 24 });
        expect(await scratchOf(instance, sizes, "array", optionsFor(sizes))).toBeLessThanOrEqual(MIB + keys * (16 + 24) * 4);
      }
    });
  });

  test("of arrays is for the keys that are seen, not for all", async () => {
    const instance = createInstance(variant);
    const of = (options: AttentionOptions): Promise<number> => scratchOf(instance, attentionCase({ queries: 4, keys: 20_000, dim: 16 }), "array", options);
    const none = await of({ kvLengths: [0] });
    expect((await of({ kvLengths: [500] })) - none).toBeLessThanOrEqual(500 * 32 * 4 + 256);
    expect((await of({ windowSize: [99, 0] })) - none).toBeLessThanOrEqual(103 * 32 * 4 + 256);
    expect((await of({ causal: "upper-left" })) - none).toBeLessThanOrEqual(4 * 32 * 4 + 256);
  });

  test("is the largest that there is, for the largest head dimensions, within 2 MiB", async () => {
    const instance = createInstance(variant);
    const sizes = attentionCase({ queries: 70, keys: 1100, dim: 512 });
    expect(await scratchOf(instance, sizes, "module", { bias: numbers("normal", 1100), mask: maskBytes(1100) })).toBeLessThanOrEqual(2 * MIB);
  });

  test("repeated calls leave memory where it was", () => {
    const instance = createInstance(variant);
    const { memory } = instance;
    const cases = [
      attentionCase({ heads: 2, queries: 3, keys: 5000, dim: 64 }),
      attentionCase({ heads: 2, queries: 70, keys: 300, dim: 40, valueDim: 33 }),
      attentionCase({ batch: 2, heads: 4, kvHeads: 1, queries: 9, keys: 20, dim: 5 }),
    ].map((c) => operandsFor(c));
    const call = (i: number): void => {
      const { sizes, q, k, v } = cases[i % cases.length] ?? operandsFor(attentionCase({ queries: 1, keys: 1, dim: 1 }));
      const shapes = shapesOf(sizes);
      instance.attention(tensor(q, shapes.q), tensor(k, shapes.k), tensor(v, shapes.v), { causal: true, bias: k.subarray(0, sizes.keys), returnLse: true });
      instance.attentionScores(tensor(q, shapes.q), tensor(k, shapes.k), { stage: "probabilities" });
      expect(() => instance.attention(tensor(q, shapes.q), tensor(k, shapes.k), tensor(v, shapes.v), { kvLengths: [-1] })).toThrow(RangeError);
    };
    for (let i = 0; i < 6; i++) call(i);
    const before = memory.byteLength;
    for (let i = 0; i < 60; i++) call(i);
    expect(memory.byteLength).toBe(before);
    expect(memory.usedBytes).toBe(0);
  });

  test("a call that runs out of memory throws BackendError and leaves output and memory as they were", () => {
    const instance = createInstance(variant);
    const { memory } = instance;
    const c = attentionCase({ queries: 2, keys: 20_000, dim: 32 });
    const { q, k, v } = operandsFor(c);
    const shapes = shapesOf(c);
    const out = new Float32Array(64).fill(7);
    const kept = instance.empty([64]);
    const before = [memory.byteLength, memory.usedBytes];
    const call = () => instance.attention(tensor(q, shapes.q), tensor(k, shapes.k), tensor(v, shapes.v), { out });
    Object.defineProperty(memory.memory, "grow", { configurable: true, value: () => { throw new RangeError("no memory"); } }); // prettier-ignore
    expect(call).toThrow(BackendError);
    expect([memory.byteLength, memory.usedBytes]).toEqual(before);
    expect(out.every((x) => x === 7)).toBe(true);
    delete (memory.memory as { grow?: unknown }).grow;
    call();
    expect(out.some((x) => x === 7)).toBe(false);
    kept.dispose();
    expect(memory.usedBytes).toBe(0);
  });
});
