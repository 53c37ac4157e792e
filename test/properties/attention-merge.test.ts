import { describe, expect, test } from "vitest";
import { type Layout, type PartialAttention, tensor } from "../../src/index.ts";
import { type AttentionCase, attentionCase } from "../cases/attention.ts";
import { biasWithHoles, mask, sinks, slopes } from "../cases/attention-options.ts";
import type { AttentionOptions } from "../reference/attention.ts";
import { countOf, stridesOf } from "../reference/indices.ts";
import type { Operand } from "../reference/rows.ts";
import { Placements, expectAttention, expectedOf, libraryOptions, operandsFor, run, shapesOf, swapMiddle, toleranceFor } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { numbers } from "../support/numbers.ts";
import { cuts, fc, shuffled } from "../support/property.ts";
import { type Backend, type Tolerance, expectClose, expectSameBits } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";

const CASES: readonly AttentionCase[] = [
  attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 3, keys: 150, dim: 8, valueDim: 5 }, "decode"),
  attentionCase({ heads: 2, queries: 70, keys: 150, dim: 8, valueDim: 5 }, "prefill"),
];

const OPTIONS: readonly { name: string; optionsFor: (c: AttentionCase) => AttentionOptions }[] = [
  { name: "no option", optionsFor: () => ({}) },
  { name: "causal", optionsFor: () => ({ causal: true }) },
  { name: "window", optionsFor: () => ({ windowSize: [37, 5] }) },
  { name: "ALiBi and softcap", optionsFor: (c) => ({ alibiSlopes: slopes(c), softcap: 5 }) },
  { name: "lengths", optionsFor: ({ batch }) => ({ kvLengths: Array.from({ length: batch }, (_, b) => 100 - 50 * b), causal: true }) },
  { name: "mask and bias", optionsFor: ({ heads, queries, keys }) => ({ mask: mask([queries, keys]), bias: biasWithHoles([heads, queries, keys]) }) },
];

/** The part of a score operand that belongs to the keys `from` … `to`. */
function columns(operand: Operand | undefined, from: number, to: number): Operand | undefined {
  if (operand === undefined) return undefined;
  const keys = operand.shape.at(-1) ?? 0;
  const values = Array.from(operand.values).filter((_, i) => i % keys >= from && i % keys < to);
  return { values, shape: [...operand.shape.slice(0, -1), to - from] };
}

/**
 * What one merge of two states may be off by, `out` for outputs of at most 1. On the GPU a weight exp(−d) is off by 3 + 2d ULP of
 * itself, at most 4e-7 of the larger weight, and so is the sum of both; its logarithm by 2⁻²¹, and the quotient by 2.5 ULP.
 */
const MERGE = { wasm: { out: 1e-7, lse: 1e-7 }, webgpu: { out: 1.2e-6, lse: 1e-6 } } as const;

/** Two merges round differently: output and log-sum-exp are rounded to f32 in between, and the latter's error is one of the weights. */
function afterMerging({ relative, absolute }: Tolerance, merges: number, lse: ArrayLike<number>, magnitude: number, backend: Backend): Tolerance {
  const largest = Array.from(lse).reduce((m, l) => (Number.isFinite(l) ? Math.max(m, Math.abs(l)) : m), 1);
  const exponential = backend === "wasm" ? 0 : MERGE.webgpu.out;
  return { relative, absolute: absolute + merges * (4 * 2 ** -24 * largest + exponential) * magnitude };
}

describeSubjects("merging partial attention", (subject) => {
  /** Attention over the keys `from` … `to` only, by views of the keys and values and shifted positions. */
  async function part(c: AttentionCase, options: AttentionOptions, from: number, to: number, layout: Layout = "bhld"): Promise<PartialAttention> {
    const { q, k, v } = operandsFor(c);
    const shapes = shapesOf(c);
    const view = (data: Float32Array, [batch, heads, , dim]: readonly [number, number, number, number]) => ({
      data: data.subarray(from * dim),
      shape: layout === "bhld" ? [batch, heads, to - from, dim] : [batch, to - from, heads, dim],
      strides: layout === "bhld" ? stridesOf([batch, heads, c.keys, dim]) : [heads * c.keys * dim, dim, c.keys * dim, 1],
    });
    const lengths = options.kvLengths ?? new Array<number>(c.batch).fill(c.keys);
    const some: AttentionOptions = {
      ...options,
      kvLengths: lengths.map((length) => Math.min(Math.max(length - from, 0), to - from)),
      queryOffset: lengths.map((length) => length - c.queries - from),
      mask: columns(options.mask, from, to),
      bias: columns(options.bias, from, to),
    };
    const call = await libraryOptions(some, { ...c, keys: to - from }, new Placements(subject, "array"));
    const [batch, heads, queries, dim] = shapes.q;
    const queriesIn = layout === "bhld" ? tensor(q, shapes.q) : tensor(swapMiddle(q, shapes.q), [batch, queries, heads, dim]);
    return await subject.attention(queriesIn, view(k, shapes.k), view(v, shapes.v), { ...call, layout, returnLse: true });
  }

  async function check(c: AttentionCase, options: AttentionOptions, parts: readonly PartialAttention[], label: string): Promise<void> {
    const merged = await subject.mergeStates(parts);
    const operands = operandsFor(c);
    const expected = expectedOf(operands, options);
    const { out, lse } = toleranceFor(operands, options, subject.kind);
    const result = { out: merged.out.data, lse: merged.lse.data };
    const tolerance = {
      out: afterMerging(out, parts.length, expected.lse, 10, subject.kind),
      lse: afterMerging(lse, parts.length, expected.lse, 1, subject.kind),
    };
    expectAttention(result, expected, { ...toleranceFor(operands, options, subject.kind), ...tolerance }, label);
  }

  describe.each(byName(CASES))("%s", (_, c) => {
    describe.each(byName(OPTIONS))("%s", (_, { optionsFor }) => {
      const options = optionsFor(c);

      test("split anywhere, merged in any order", async () => {
        await fc.assert(
          fc.asyncProperty(fc.array(fc.nat(1000), { maxLength: 4 }), fc.nat(1000), async (points, seed) => {
            const at = cuts(c.keys, points);
            const parts = await Promise.all(at.slice(1).map((to, i) => part(c, options, at[i] ?? 0, to)));
            await check(
              c,
              options,
              shuffled(parts.length, seed).map((i) => parts[i] ?? { out: new Float32Array(), lse: new Float32Array() }),
              `cut at ${at.join()}`,
            );
          }),
          { numRuns: 15 },
        );
      });

      test("in both layouts", async () => {
        const merged = await subject.mergeStates([await part(c, options, 0, 70), await part(c, options, 70, 150)]);
        const other = await subject.mergeStates([await part(c, options, 0, 70, "blhd"), await part(c, options, 70, 150, "blhd")], { layout: "blhd" });
        const [batch, heads, queries, dim] = shapesOf(c).out;
        expect(other.out.shape).toEqual([batch, queries, heads, dim]);
        expectSameBits(swapMiddle(other.out.data, [batch, queries, heads, dim]), merged.out.data);
        expectSameBits(other.lse.data, merged.lse.data);
      });

      test("sinks given to one part only, or merged as one more state", async () => {
        const withSinks = { ...options, sinks: sinks(c) };
        const [first, second] = [await part(c, options, 0, 33), await part(c, options, 33, c.keys)];
        const lseShape = [c.batch, c.heads, c.queries];
        const lse = Float32Array.from({ length: countOf(lseShape) }, (_, row) => withSinks.sinks[Math.floor(row / c.queries) % c.heads] ?? NaN);
        const state: PartialAttention = { out: tensor(new Float32Array(countOf(shapesOf(c).out)), shapesOf(c).out), lse: tensor(lse, lseShape) };
        await check(c, withSinks, [await part(c, withSinks, 0, 33), second], "with the first part");
        await check(c, withSinks, [first, await part(c, withSinks, 33, c.keys)], "with the second part");
        await check(c, withSinks, [first, state, second], "as a state of its own");
      });

      test("an empty part changes no bit", async () => {
        const whole = await run(subject, operandsFor(c), { ...options });
        const [all, none] = [await part(c, options, 0, c.keys), await part(c, options, 40, 40)];
        for (const parts of [[all], [all, none], [none, all], [none, none, all, none]]) {
          const merged = await subject.mergeStates(parts);
          expectSameBits(merged.out.data, whole.out);
          expectSameBits(merged.lse.data, whole.lse);
        }
        const nothing = await subject.mergeStates([none, none]);
        expect(new Set(nothing.out.data)).toEqual(new Set([0]));
        expect(new Set(nothing.lse.data)).toEqual(new Set([-Infinity]));
      });
    });
  });
});

describeSubjects("mergeStates", (subject) => {
  const ROWS = 40;
  const DIM = 6;
  const kind = fc.constantFrom("normal", "wide", "holes", "shifted", "outliers");
  const state = fc
    .record({ kind, seed: fc.nat(1000) })
    .map(({ kind: lse, seed }) => ({ out: tensor(numbers("normal", ROWS * DIM, seed), [ROWS, DIM]), lse: numbers(lse as "wide", ROWS, seed) }));
  const magnitude = 12;

  test("gives two states the same bits in either order", async () => {
    await fc.assert(
      fc.asyncProperty(state, state, async (a, b) => {
        const [ab, ba] = [await subject.mergeStates([a, b]), await subject.mergeStates([b, a])];
        expectSameBits(ab.out.data, ba.out.data);
        expectSameBits(ab.lse.data, ba.lse.data);
      }),
    );
  });

  test("is associative within rounding", async () => {
    await fc.assert(
      fc.asyncProperty(state, state, state, async (a, b, c) => {
        const [left, right] = [
          await subject.mergeStates([await subject.mergeStates([a, b]), c]),
          await subject.mergeStates([a, await subject.mergeStates([b, c])]),
        ];
        const zero = { relative: 0, absolute: 0 };
        expectClose(left.lse.data, right.lse.data, afterMerging({ ...zero, relative: 2 ** -22 }, 2, [], 1, subject.kind));
        expectClose(left.out.data, right.out.data, afterMerging(zero, 2, left.lse.data, magnitude, subject.kind));
      }),
    );
  });

  test("merges a list left to right", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(state, { minLength: 1, maxLength: 5 }), async (states) => {
        const [first, ...rest] = states;
        const list = await subject.mergeStates(states);
        let folded = await subject.mergeStates(first === undefined ? [] : [first]);
        for (const next of rest) folded = await subject.mergeStates([folded, next]);
        expectSameBits(list.out.data, folded.out.data);
        expectSameBits(list.lse.data, folded.lse.data);
      }),
    );
  });

  test("is a weighted mean, with the weights exp(lse)", async () => {
    await fc.assert(
      fc.asyncProperty(state, state, async (a, b) => {
        const merged = await subject.mergeStates([a, b]);
        for (let row = 0; row < ROWS; row++) {
          const [la, lb] = [a.lse[row] ?? NaN, b.lse[row] ?? NaN];
          const m = Math.max(la, lb);
          const [wa, wb] = m === -Infinity ? [0, 0] : [Math.exp(la - m), Math.exp(lb - m)];
          expectClose([merged.lse.data[row] ?? NaN], [m === -Infinity ? m : m + Math.log(wa + wb)], { relative: 2 ** -24, absolute: MERGE[subject.kind].lse });
          for (let e = row * DIM; e < (row + 1) * DIM; e++) {
            const mean = m === -Infinity ? 0 : (wa * (a.out.data[e] ?? NaN) + wb * (b.out.data[e] ?? NaN)) / (wa + wb);
            expectClose([merged.out.data[e] ?? NaN], [mean], { relative: 2 ** -24, absolute: 10 * MERGE[subject.kind].out });
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  test("ignores the output of a state without keys, whatever it holds", async () => {
    const empty = { out: tensor(new Float32Array(4).fill(NaN), [2, 2]), lse: new Float32Array(2).fill(-Infinity) };
    const full = { out: tensor(new Float32Array([1, 2, 3, 4]), [2, 2]), lse: new Float32Array([5, -6]) };
    for (const states of [
      [empty, full],
      [full, empty],
    ])
      expect([...(await subject.mergeStates(states)).out.data]).toEqual([1, 2, 3, 4]);
    expect([...(await subject.mergeStates([empty, empty])).out.data]).toEqual([0, 0, 0, 0]);
  });

  test("takes strided states and leaves them as they are", async () => {
    const data = numbers("normal", 200);
    const before = data.slice();
    const strided = { out: tensor(data, [3, 4], { strides: [20, 3] }), lse: tensor(data, [3], { strides: [7] }) };
    const copy = (shape: number[], strides: number[]) =>
      Float32Array.from({ length: countOf(shape) }, (_, i) => data[shape.length === 1 ? i * (strides[0] ?? 0) : Math.floor(i / 4) * 20 + (i % 4) * 3] ?? NaN);
    const dense = { out: tensor(copy([3, 4], [20, 3]), [3, 4]), lse: copy([3], [7]) };
    const other = { out: tensor(numbers("normal", 12, 2), [3, 4]), lse: numbers("normal", 3, 2) };
    expectSameBits((await subject.mergeStates([strided, other])).out.data, (await subject.mergeStates([dense, other])).out.data);
    expectSameBits((await subject.mergeStates([other, strided])).lse.data, (await subject.mergeStates([other, dense])).lse.data);
    expectSameBits(data, before);
  });

  test("has shapes of the first state, for two to four dimensions", async () => {
    for (const [shape, lseShape, layout] of [
      [[5, 3], [5], "bhld"],
      [[5, 3], [5], "blhd"],
      [[2, 5, 3], [2, 5], "bhld"],
      [[5, 2, 3], [2, 5], "blhd"],
      [[4, 2, 5, 3], [4, 2, 5], "bhld"],
      [[4, 5, 2, 3], [4, 2, 5], "blhd"],
      [[0, 5, 3], [0, 5], "bhld"],
    ] as const) {
      const one = { out: tensor(numbers("normal", countOf(shape)), shape), lse: tensor(numbers("normal", countOf(lseShape)), lseShape) };
      const merged = await subject.mergeStates([one, one], { layout });
      expect(merged.out).toMatchObject({ shape, dtype: "f32" });
      expect(merged.lse).toMatchObject({ shape: lseShape, dtype: "f32" });
      // Merged with itself: the same output, and log 2 more of everything.
      expectClose(merged.out.data, one.out.data, { relative: subject.kind === "wasm" ? 2 ** -24 : 3e-7, absolute: 0 });
      expectClose(
        merged.lse.data,
        one.lse.data.map((l) => l + Math.LN2),
        { relative: 2 ** -23, absolute: MERGE[subject.kind].lse },
      );
    }
  });
});
