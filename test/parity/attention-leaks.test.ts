import { describe, expect, test } from "vitest";
import { type AttentionCase, type AttentionSizes, attentionCase } from "../cases/attention.ts";
import { tiles } from "../cases/attention-options.ts";
import type { AttentionOptions } from "../reference/attention.ts";
import { type Operands, waysOf, operandsFor, run, shapesOf } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";

// SEMANTICS 11: what no query of a head may see is never read. Here it holds NaN, and the results have the bits of clean data.

/** Decode and prefill, with value columns that fill eight and with some that are left over. */
const SIZES: readonly Omit<AttentionSizes, "queries" | "keys">[] = [
  { batch: 1, heads: 2, kvHeads: 1, dim: 5, valueDim: 11 },
  { batch: 2, heads: 2, kvHeads: 2, dim: 8, valueDim: 8 },
];

/** Borders between what is seen and what is not, at every place in a group of four, around tiles and a chunk. */
const BORDERS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 126, 127, 128, 129, 130];

/** Overwrites what `hidden` says, in every batch and head. */
function spoil(values: Float32Array, shape: readonly number[], hidden: (b: number, j: number) => boolean): Float32Array {
  const [, heads = 0, keys = 0, dim = 0] = shape;
  return values.map((v, at) => {
    const row = Math.floor(at / dim);
    return hidden(Math.floor(row / keys / heads), row % keys) ? NaN : v;
  });
}

interface Border {
  readonly name: string;
  /** How many queries, and what they see, for a border at `key`. */
  readonly queries: readonly number[];
  readonly optionsFor: (sizes: AttentionSizes, key: number) => AttentionOptions;
  readonly hides: (sizes: AttentionSizes, key: number, j: number) => boolean;
}

const KEYS = 140;

const STRUCTURES: readonly Border[] = [
  {
    name: "kvLengths",
    queries: [1, 5, 70],
    optionsFor: ({ batch }, key) => ({ kvLengths: new Array<number>(batch).fill(key) }),
    hides: (_, key, j) => j >= key,
  },
  { name: "causal", queries: [1, 5, 70], optionsFor: ({ queries }, key) => ({ causal: true, queryOffset: key - queries }), hides: (_, key, j) => j >= key },
  {
    name: "a window that ends",
    queries: [1, 5, 70],
    optionsFor: ({ queries }, key) => ({ windowSize: [Infinity, 0], queryOffset: key - queries }),
    hides: (_, key, j) => j >= key,
  },
  {
    name: "a window that begins",
    queries: [1, 5, 70],
    optionsFor: (_, key) => ({ windowSize: [0, Infinity], queryOffset: key }),
    hides: (_, key, j) => j < key,
  },
  {
    name: "a window on both sides",
    queries: [1, 5, 70],
    optionsFor: (_, key) => ({ windowSize: [3, 2], queryOffset: key }),
    hides: ({ queries }, key, j) => j < key - 3 || j >= key + queries + 2,
  },
  {
    name: "queries not in use",
    queries: [5, 70],
    optionsFor: ({ batch }, key) => ({ causal: true, qLengths: new Array<number>(batch).fill(2), queryOffset: key - 2 }),
    hides: (_, key, j) => j >= key,
  },
];

describeSubjects("NaN that nobody may see", (subject) => {
  async function check(clean: Operands, options: AttentionOptions, hidden: (b: number, j: number) => boolean, label: string): Promise<void> {
    const shapes = shapesOf(clean.sizes);
    const dirty = { ...clean, k: spoil(clean.k, shapes.k, hidden), v: spoil(clean.v, shapes.v, hidden) };
    for (const way of waysOf(subject).slice(0, 2)) {
      const [expected, actual] = [await run(subject, clean, options, way), await run(subject, dirty, options, way)];
      expectSameBits(actual.out, expected.out, `${label}, ${way.home}`);
      expectSameBits(actual.lse, expected.lse, `${label}, ${way.home}, log-sum-exp`);
    }
  }

  describe.each(byName(STRUCTURES))("because of %s", (_, { queries, optionsFor, hides }) => {
    test.each(SIZES)("does not leak, E = $dim, Ev = $valueDim", async (sizes) => {
      for (const count of queries) {
        const c = attentionCase({ ...sizes, queries: count, keys: KEYS });
        const clean = operandsFor(c);
        for (const key of BORDERS) await check(clean, optionsFor(c, key), (_, j) => hides(c, key, j), `${count} queries, border at ${key}`);
      }
    });
  });

  test("behind lengths that differ, across a chunk", async () => {
    const c = attentionCase({ batch: 4, heads: 2, kvHeads: 1, queries: 3, keys: 1100, dim: 5, valueDim: 11 });
    const kvLengths = [0, 1023, 1024, 1029];
    for (const options of [{ kvLengths }, { kvLengths, causal: true }]) await check(operandsFor(c), options, (b, j) => j >= (kvLengths[b] ?? 0), "lengths");
  });

  describe("in tiles that a block mask leaves out", () => {
    const c = attentionCase({ heads: 2, queries: 150, keys: 200, dim: 5, valueDim: 11 });

    test("for all queries", async () => {
      const blockMask = { maskMod: (_b: number, _h: number, q: number, k: number) => k >> 6 !== 1 && (k >> 6 !== 2 || q % 3 === 0), batch: 1, heads: 1 };
      await check(operandsFor(c), { blockMask }, (_, j) => j >> 6 === 1, "second tile");
    });

    test("for their queries: the others see it", async () => {
      const clean = operandsFor(c);
      const blockMask = tiles(1, 2);
      const shapes = shapesOf(c);
      const [hidden, queryTile] = [1, 1];
      expect(blockMask.maskMod(0, 0, queryTile * 64, hidden * 64)).toBe(false);
      const dirty = { ...clean, k: spoil(clean.k, shapes.k, (_, j) => j >> 6 === hidden), v: spoil(clean.v, shapes.v, (_, j) => j >> 6 === hidden) };
      const [expected, actual] = [await run(subject, clean, { blockMask }), await run(subject, dirty, { blockMask })];
      const rows = (out: Float32Array): Float32Array => out.slice(queryTile * 64 * 11, Math.min((queryTile + 1) * 64, 150) * 11);
      expectSameBits(rows(actual.out), rows(expected.out));
      if (subject.propagates) expect(actual.out.some((v) => Number.isNaN(v))).toBe(true);
    });
  });
});

describeSubjects("NaN in masked keys whose values are finite", (subject) => {
  const CASES: readonly AttentionCase[] = [
    attentionCase({ heads: 2, kvHeads: 1, queries: 5, keys: 131, dim: 5, valueDim: 11 }, "decode"),
    attentionCase({ heads: 2, queries: 70, keys: 131, dim: 5, valueDim: 11 }, "prefill"),
  ];
  const HIDDEN = (j: number): boolean => j % 5 === 2 || (j > 60 && j < 75);

  test.each(byName(CASES))("does not leak, %s", async (_, c) => {
    const clean = operandsFor(c);
    const dirty = { ...clean, k: spoil(clean.k, shapesOf(c).k, (_, j) => HIDDEN(j)) };
    const options: readonly AttentionOptions[] = [
      { mask: { values: Array.from({ length: c.keys }, (_, j) => Number(!HIDDEN(j))), shape: [c.keys] } },
      { blockMask: { maskMod: (_b, _h, _q, j) => !HIDDEN(j), batch: 1, heads: 1 } },
    ];
    for (const option of options) {
      for (const more of [{}, { softcap: 3, alibiSlopes: [0.5, 0.1], bias: { values: [1], shape: [1] } }]) {
        for (const way of waysOf(subject).slice(0, 2)) {
          const [expected, actual] = [await run(subject, clean, { ...option, ...more }, way), await run(subject, dirty, { ...option, ...more }, way)];
          expectSameBits(actual.out, expected.out);
          expectSameBits(actual.lse, expected.lse);
        }
      }
    }
  });

  test("does not leak to earlier queries of a causal call, and reaches the later ones", async () => {
    const c = attentionCase({ queries: 70, keys: 70, dim: 5, valueDim: 11 });
    const clean = operandsFor(c);
    for (const key of [0, 1, 6, 7, 8, 31, 63, 64, 65, 69]) {
      const dirty = { ...clean, k: spoil(clean.k, shapesOf(c).k, (_, j) => j === key) };
      const [expected, actual] = [await run(subject, clean, { causal: true }), await run(subject, dirty, { causal: true })];
      expectSameBits(actual.out.slice(0, key * 11), expected.out.slice(0, key * 11), `key ${key}`);
      expectSameBits(actual.lse.slice(0, key), expected.lse.slice(0, key), `key ${key}`);
      if (!subject.propagates) continue;
      expect(actual.out.slice(key * 11).every((v) => Number.isNaN(v))).toBe(true);
      expect(actual.lse.slice(key).every((v) => Number.isNaN(v))).toBe(true);
    }
  });
});

describeSubjects("NaN in values", (subject) => {
  const masked = (i: number): boolean => i % 3 === 1;
  const each = (count: number, of: (i: number) => number) => ({ values: Array.from({ length: count }, (_, i) => of(i)), shape: [count, 1] });

  test.each([5, 70])("does not reach those of %i queries that see nothing", async (queries) => {
    for (const keys of [40, 131, 1100]) {
      const c = attentionCase({ heads: 2, kvHeads: 1, queries, keys, dim: 5, valueDim: 11 });
      const operands = operandsFor(c);
      const dirty = { ...operands, v: operands.v.map(() => NaN) };
      const options: readonly (AttentionOptions & { readonly blind?: (i: number) => boolean })[] = [
        { mask: each(queries, (i) => Number(!masked(i))) },
        { bias: each(queries, (i) => (masked(i) ? -Infinity : 1)) },
        { mask: each(queries, (i) => Number(!masked(i))), sinks: [1, -2] },
        { qLengths: [2], blind: (i) => i >= 2 },
        { causal: true, queryOffset: -3, blind: (i) => i < 3 },
      ];
      for (const { blind = masked, ...option } of options) {
        const { out, lse } = await run(subject, dirty, option);
        for (let row = 0; row < 2 * queries; row++) {
          const label = `row ${row}, ${keys} keys, ${Object.keys(option).join()}`;
          const values = Array.from(out.subarray(row * 11, (row + 1) * 11));
          if (blind(row % queries)) {
            expect(values, label).toEqual(new Array(11).fill(0));
            expect(lse[row], label).toBe(option.sinks?.[Math.floor(row / queries)] ?? -Infinity);
          } else if (subject.propagates) expect(values, label).toEqual(new Array(11).fill(NaN));
        }
      }
    }
  });
});
