import { createBlockMask } from "../../src/ops/create-block-mask.ts";
import { describe, expect, test } from "vitest";
import type { MaskMod } from "../../src/index.ts";
import { type AttentionCase, attentionCase } from "../cases/attention.ts";
import { countOf } from "../reference/indices.ts";
import { expectAttention, expectedOf, operandsFor, run, toleranceFor } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { describeSubjects } from "../support/subjects.ts";

describe("createBlockMask", () => {
  test("asks about every query and key once, by their indices", () => {
    const asked = new Set<string>();
    let count = 0;
    const mask = createBlockMask(
      (...at) => {
        count++;
        asked.add(at.join());
        return true;
      },
      { batch: 2, heads: 3, queryLength: 66, keyLength: 70 },
    );
    expect(count).toBe(2 * 3 * 66 * 70);
    expect(asked.size).toBe(count);
    for (const at of ["0,0,0,0", "1,2,65,69"]) expect(asked).toContain(at);
    expect(mask).toMatchObject({ batch: 2, heads: 3, queryLength: 66, keyLength: 70, queryTiles: 2, keyTiles: 2 });
  });

  test.each<[string, MaskMod, number]>([
    ["nothing", () => false, 1],
    ["everything", () => true, 0],
    ["causal", (_b, _h, q, k) => k <= q, 6 / 16],
    ["a diagonal of tiles", (_b, _h, q, k) => q >> 6 === k >> 6, 12 / 16],
    ["a single key", (_b, _h, q, k) => q === 255 && k === 0, 15 / 16],
  ])("sparsity of %s", (_, maskMod, sparsity) => {
    expect(createBlockMask(maskMod, { queryLength: 256, keyLength: 256 }).sparsity).toBe(sparsity);
    // A last tile that is cut short counts like the others.
    expect(createBlockMask(maskMod, { queryLength: 256, keyLength: 193 }).sparsity).toBe(sparsity);
  });

  test("of nothing has no tiles", () => {
    for (const [queryLength, keyLength] of [
      [0, 0],
      [0, 9],
      [9, 0],
    ] as const)
      expect(createBlockMask(() => true, { queryLength, keyLength }).sparsity).toBe(0);
  });
});

interface NamedMask {
  readonly name: string;
  readonly maskMod: MaskMod;
}

describeSubjects("blockMask", (subject) => {
  const CASES: readonly AttentionCase[] = [
    attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 7, keys: 70, dim: 8 }, "few queries"),
    attentionCase({ batch: 2, heads: 2, queries: 64, keys: 64, dim: 8 }, "one tile"),
    attentionCase({ batch: 2, heads: 2, queries: 65, keys: 129, dim: 8 }, "a query and a key more"),
    attentionCase({ queries: 70, keys: 1100, dim: 4 }, "two parts"),
  ];
  const MASKS: readonly NamedMask[] = [
    { name: "nothing", maskMod: () => false },
    { name: "everything", maskMod: () => true },
    { name: "causal", maskMod: (_b, _h, q, k) => k <= q },
    { name: "a window per head", maskMod: (_b, h, q, k) => Math.abs(q - k) <= 10 + 50 * h },
    { name: "documents per batch", maskMod: (b, _h, q, k) => Math.floor(q / (40 + b)) === Math.floor(k / (40 + b)) },
    { name: "every seventh key", maskMod: (_b, _h, _q, k) => k % 7 === 6 },
    { name: "all but one pair of each tile", maskMod: (_b, _h, q, k) => q % 64 !== 3 || k % 64 !== 40 },
    { name: "one key", maskMod: (_b, _h, q, k) => k === (q * 31) % 64 },
    { name: "the last tile", maskMod: (b, h, _q, k) => (b + h) % 2 === 0 && k >= 64 },
  ];

  /** A block mask for one or all batches and heads, and what the reference makes of the mask that it stands for. */
  const sample = memoize((c: AttentionCase, { maskMod }: NamedMask, batch: number, heads: number) => {
    const operands = operandsFor(c);
    const shape = [c.batch, c.heads, c.queries, c.keys];
    const values = Array.from({ length: countOf(shape) }, (_, n) => {
      const [row, k] = [Math.floor(n / c.keys), n % c.keys];
      const [head, q] = [Math.floor(row / c.queries), row % c.queries];
      return Number(maskMod(batch === 1 ? 0 : Math.floor(head / c.heads), heads === 1 ? 0 : head % c.heads, q, k));
    });
    return { operands, expected: expectedOf(operands, { mask: { values, shape } }), tolerance: toleranceFor(operands, {}, subject.kind) };
  });

  describe.each(byName(CASES))("%s", (_, c) => {
    test.each(byName(MASKS))("%s agrees with the mask that it stands for", async (name, mask) => {
      for (const [batch, heads] of [
        [1, 1],
        [c.batch, c.heads],
        [1, c.heads],
        [c.batch, 1],
      ] as const) {
        const { operands, expected, tolerance } = sample(c, mask, batch, heads);
        expectAttention(
          await run(subject, operands, { blockMask: { maskMod: mask.maskMod, batch, heads } }),
          expected,
          tolerance,
          `${name}, ${batch}×${heads}`,
        );
      }
    });
  });
});
