import { describe, expect, test } from "vitest";
import { type AttentionVarlenOptions, tensor } from "../../src/index.ts";
import type { AttentionSizes } from "../cases/attention.ts";
import { sinks, slopes } from "../cases/attention-options.ts";
import type { AttentionOptions } from "../reference/attention.ts";
import { type Result, expectAttention, expectedOf, run, swapMiddle, toleranceFor } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { layoutsIn, place } from "../support/layouts.ts";
import { numbers } from "../support/numbers.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { type Subject, describeSubjects } from "../support/subjects.ts";

// A ragged batch is a loop of attention over its sequences, to the bit.

interface Ragged {
  readonly name: string;
  readonly queries: readonly number[];
  readonly keys: readonly number[];
}

const BATCHES: readonly Ragged[] = [
  { name: "one sequence", queries: [9], keys: [70] },
  { name: "decode and prefill together", queries: [1, 70, 5, 33, 65], keys: [140, 70, 5, 64, 1030] },
  { name: "empty sequences among others", queries: [0, 3, 0, 4, 2, 0], keys: [5, 0, 0, 9, 66, 7] },
  { name: "no sequence", queries: [], keys: [] },
  { name: "nothing but empty sequences", queries: [0, 0], keys: [0, 0] },
];

const HEADS = { batch: 1, heads: 6, kvHeads: 2, dim: 7, valueDim: 10 };

type Common = Pick<AttentionOptions, "scale" | "causal" | "windowSize" | "softcap" | "alibiSlopes" | "sinks">;

const OPTIONS: readonly { name: string; options: Common; offset?: (b: number) => number }[] = [
  { name: "no option", options: {} },
  { name: "causal", options: { causal: true } },
  { name: "upper-left", options: { causal: "upper-left", scale: 0.3 } },
  { name: "window", options: { windowSize: [20, 3] } },
  { name: "softcap and ALiBi", options: { softcap: 4, alibiSlopes: slopes({ ...HEADS, queries: 0, keys: 0 }) } },
  { name: "causal with sinks", options: { causal: true, sinks: sinks({ ...HEADS, queries: 0, keys: 0 }) } },
  { name: "an offset per sequence", options: { causal: true, windowSize: [9, 9] }, offset: (b) => 4 * b - 3 },
];

function starts(lengths: readonly number[]): number[] {
  return lengths.reduce<number[]>((sums, n) => [...sums, (sums.at(-1) ?? 0) + n], [0]);
}

/** Packed operands, and how attention sees each sequence of them. */
function packed({ queries, keys }: Ragged) {
  const { heads, kvHeads, dim, valueDim } = HEADS;
  const [startsQ, startsK] = [starts(queries), starts(keys)];
  const [total, totalK] = [startsQ.at(-1) ?? 0, startsK.at(-1) ?? 0];
  const q = numbers("normal", total * heads * dim, 1);
  const k = numbers("normal", totalK * kvHeads * dim, 2);
  const v = numbers("normal", totalK * kvHeads * valueDim, 3);
  const sequence = (b: number) => {
    const sizes: AttentionSizes = { ...HEADS, queries: queries[b] ?? 0, keys: keys[b] ?? 0 };
    const cut = (values: Float32Array, from: readonly number[], rows: number, count: number, size: number): Float32Array =>
      swapMiddle(values.subarray((from[b] ?? 0) * count * size, ((from[b] ?? 0) + rows) * count * size), [1, rows, count, size]);
    return {
      sizes,
      q: cut(q, startsQ, sizes.queries, heads, dim),
      k: cut(k, startsK, sizes.keys, kvHeads, dim),
      v: cut(v, startsK, sizes.keys, kvHeads, valueDim),
    };
  };
  return { startsQ, startsK, total, totalK, q, k, v, sequence };
}

/** Sequence `b` of a packed result. */
function resultOf({ queries }: Ragged, b: number, out: Float32Array, lse: Float32Array): Result {
  const { heads, valueDim } = HEADS;
  const startsQ = starts(queries);
  const [start = 0, rows = 0, total = 0] = [startsQ[b], queries[b], startsQ.at(-1)];
  return {
    out: swapMiddle(out.subarray(start * heads * valueDim, (start + rows) * heads * valueDim), [1, rows, heads, valueDim]),
    lse: Float32Array.from({ length: heads * rows }, (_, n) => lse[Math.floor(n / rows) * total + start + (n % rows)] ?? NaN),
  };
}

describeSubjects("attentionVarlen", (subject) => {
  describe.each(byName(BATCHES))("%s", (_, batch) => {
    const { startsQ, startsK, total, totalK, q, k, v, sequence } = packed(batch);
    const tensors = [tensor(q, [total, 6, 7]), tensor(k, [totalK, 2, 7]), tensor(v, [totalK, 2, 10])] as const;

    test.each(byName(OPTIONS))("%s", async (_, { options, offset }) => {
      const used = await subject.usedBytes?.();
      const queryOffset = offset && batch.queries.map((_, b) => offset(b));
      const call: AttentionVarlenOptions = { ...options, queryOffset, cuSeqlensQ: Int32Array.from(startsQ), cuSeqlensK: startsK };
      const { out, lse } = await varlenWithLse(subject, tensors, call);
      expect(out.shape).toEqual([total, 6, 10]);
      expect(lse.shape).toEqual([6, total]);
      for (const b of batch.queries.keys()) {
        const actual = resultOf(batch, b, out.data, lse.data);
        const single = { ...options, queryOffset: queryOffset?.[b] };
        const expected = await run(subject, sequence(b), single);
        expectAttention(expected, expectedOf(sequence(b), single), toleranceFor(sequence(b), single, subject.kind), `sequence ${b} alone`);
        expectSameBits(actual.out, expected.out, `sequence ${b}`);
        expectSameBits(actual.lse, expected.lse, `sequence ${b}, log-sum-exp`);
      }
      expect(await subject.usedBytes?.()).toBe(used);
    });
  });

  const batch = BATCHES[1] ?? { name: "", queries: [], keys: [] };
  const { startsQ, startsK, total, totalK, q, k, v } = packed(batch);
  const tensors = [tensor(q, [total, 6, 7]), tensor(k, [totalK, 2, 7]), tensor(v, [totalK, 2, 10])] as const;
  const options = { causal: true, cuSeqlensQ: startsQ, cuSeqlensK: startsK } as const;

  test("one offset for all sequences", async () => {
    const one = await varlenWithLse(subject, tensors, { ...options, queryOffset: 3 });
    const each = await varlenWithLse(subject, tensors, { ...options, queryOffset: batch.queries.map(() => 3) });
    expectSameBits(one.out.data, each.out.data);
  });

  test("keys are cut like queries without cuSeqlensK", async () => {
    const self = [tensors[0], tensor(numbers("normal", total * 14, 2), [total, 2, 7]), tensor(numbers("normal", total * 20, 3), [total, 2, 10])] as const;
    const expected = await varlenWithLse(subject, self, { cuSeqlensQ: startsQ, cuSeqlensK: startsQ });
    expectSameBits((await varlenWithLse(subject, self, { cuSeqlensQ: startsQ })).out.data, expected.out.data);
  });

  test("returns the output alone unless asked", async () => {
    expectSameBits(plain(await subject.attentionVarlen(...tensors, options)).data, (await varlenWithLse(subject, tensors, options)).out.data);
  });

  test.each(subject.homes)("operands and output anywhere, %s", async (home) => {
    const expected = await varlenWithLse(subject, tensors, options);
    const layouts = layoutsIn(home);
    for (const i of layouts.keys()) {
      const at = (n: number) => layouts[(i + n) % layouts.length] ?? "contiguous";
      const placed = await Promise.all([q, k, v].map((values, n) => place(subject, "f32", tensors[n]?.shape ?? [], { home, layout: at(n), values })));
      const out = await place(subject, "f32", [total, 6, 10], { home, layout: at(3) });
      const [pq, pk, pv] = placed.map((p) => p.tensor);
      expect(plain(await subject.attentionVarlen(pq as never, pk as never, pv as never, { ...options, out: out.tensor }))).toBe(out.tensor);
      expectSameBits(await out.values(), expected.out.data, `${home} ${at(3)}`);
      await out.expectSentinels(`${home} ${at(3)}`);
      for (const p of [...placed, out]) p.dispose();
    }
  });

  test("no sequence sees another: NaN in one stays there", async () => {
    const clean = await varlenWithLse(subject, tensors, options);
    for (const spoilt of batch.keys.keys()) {
      const inside = (at: number, size: number): boolean => at >= (startsK[spoilt] ?? 0) * 2 * size && at < (startsK[spoilt + 1] ?? 0) * 2 * size;
      const dirty = [
        tensors[0],
        tensor(
          k.map((x, at) => (inside(at, 7) ? NaN : x)),
          [totalK, 2, 7],
        ),
        tensor(
          v.map((x, at) => (inside(at, 10) ? NaN : x)),
          [totalK, 2, 10],
        ),
      ] as const;
      const result = await varlenWithLse(subject, dirty, options);
      batch.queries.forEach((_, b) => {
        const [actual, before] = [resultOf(batch, b, result.out.data, result.lse.data), resultOf(batch, b, clean.out.data, clean.lse.data)];
        if (b !== spoilt) expectSameBits(actual.out, before.out, `sequence ${b}, NaN in ${spoilt}`);
        else if (subject.propagates) expect(actual.out.some((x) => Number.isNaN(x))).toBe(true);
      });
    }
  });

  test("rows behind the last sequence are padding: 0 and −inf, and the others as without them", async () => {
    const padding = 3;
    const total = startsQ.at(-1) ?? 0;
    const padded = (values: Float32Array, rows: number, heads: number, dim: number) => {
      const data = new Float32Array((rows + padding) * heads * dim).fill(NaN);
      data.set(values.subarray(0, rows * heads * dim));
      return tensor(data, [rows + padding, heads, dim]);
    };
    const all = { ...options, sinks: sinks({ ...HEADS, queries: 0, keys: 0 }) };
    const clean = await varlenWithLse(subject, tensors, all);
    const result = await varlenWithLse(subject, [padded(tensors[0].data, total, 6, 7), padded(k, totalK, 2, 7), padded(v, totalK, 2, 10)], all);
    expectSameBits(result.out.data.subarray(0, clean.out.data.length), clean.out.data, "out");
    expect(new Set(result.out.data.subarray(clean.out.data.length))).toEqual(new Set([0]));
    for (let h = 0; h < 6; h++) {
      const row = result.lse.data.subarray(h * (total + padding), (h + 1) * (total + padding));
      expectSameBits(row.subarray(0, total), clean.lse.data.subarray(h * total, (h + 1) * total), `lse of head ${h}`);
      expect([...row.subarray(total)]).toEqual(new Array(padding).fill(-Infinity));
    }
  });
});

type Tensors = readonly [ReturnType<typeof tensor<Float32Array>>, ReturnType<typeof tensor<Float32Array>>, ReturnType<typeof tensor<Float32Array>>];
type Returned = Awaited<ReturnType<Subject["attentionVarlen"]>>;

async function varlenWithLse(subject: Subject, [q, k, v]: Tensors, options: AttentionVarlenOptions) {
  const result = await subject.attentionVarlen(q, k, v, { ...options, returnLse: true });
  if (!("lse" in result)) throw new Error("asked for the log-sum-exp, got none");
  return result;
}

function plain(result: Returned) {
  if ("lse" in result) throw new Error("got a log-sum-exp that nobody asked for");
  return result;
}
