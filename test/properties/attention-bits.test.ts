import { describe, expect, test } from "vitest";
import { type AttentionCase, attentionCase } from "../cases/attention.ts";
import { biasWithHoles, documents, lengths, mask, sinks, slopes } from "../cases/attention-options.ts";
import type { AttentionOptions } from "../reference/attention.ts";
import { countOf } from "../reference/indices.ts";
import type { Operand } from "../reference/rows.ts";
import { type Operands, type Result, waysOf, operandsFor, run, shapesOf } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { type Backend, expectSameBits } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";

// SEMANTICS 14: for one kernel, a row's bits depend on nothing but its query, the keys and values that it sees, and what is
// done to their scores.

/** Every kernel, more than one tile and more than one chunk, tails everywhere. */
const CASES: readonly AttentionCase[] = [
  attentionCase({ batch: 3, heads: 4, kvHeads: 2, queries: 5, keys: 131, dim: 7, valueDim: 9 }, "decode"),
  attentionCase({ batch: 3, heads: 2, kvHeads: 1, queries: 3, keys: 131, dim: 7, valueDim: 43 }, "few rows"),
  attentionCase({ batch: 3, heads: 2, kvHeads: 1, queries: 1, keys: 1090, dim: 8 }, "few rows, two chunks"),
  attentionCase({ batch: 3, heads: 2, kvHeads: 1, queries: 71, keys: 131, dim: 7, valueDim: 9 }, "prefill"),
  attentionCase({ batch: 2, heads: 2, queries: 70, keys: 1090, dim: 4 }, "prefill, two parts"),
];

const OPTIONS: readonly { name: string; optionsFor: (c: AttentionCase) => AttentionOptions }[] = [
  { name: "no option", optionsFor: () => ({}) },
  { name: "causal", optionsFor: () => ({ causal: true }) },
  { name: "window", optionsFor: () => ({ windowSize: [37, 5] }) },
  { name: "ALiBi, softcap, sinks", optionsFor: (c) => ({ alibiSlopes: slopes(c), softcap: 5, sinks: sinks(c) }) },
  {
    name: "mask and bias",
    optionsFor: ({ batch, heads, queries, keys }) => ({ mask: mask([batch, 1, queries, keys]), bias: biasWithHoles([batch, heads, queries, keys]) }),
  },
];

/** What computes a case on a backend: the CPU has a kernel for few rows. */
function kernelOf({ heads, kvHeads, queries }: AttentionCase, backend: Backend): "few rows" | "decode" | "prefill" {
  const rows = queries * (heads / kvHeads);
  if (rows > 64) return "prefill";
  return backend === "wasm" && rows < 8 ? "few rows" : "decode";
}

/** Elements of `values` [B, H, rows, cols] at the given indices along each of the first three dimensions, `cols` cut or padded. */
function pick(
  values: ArrayLike<number>,
  shape: readonly number[],
  at: { b?: readonly number[]; h?: readonly number[]; i?: readonly number[] },
  pad?: { cols: number; value: number },
): { values: Float32Array; shape: number[] } {
  const [batch = 1, heads = 1, rows = 1, cols = 1] = shape;
  const all = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
  const [bs, hs, is] = [at.b ?? all(batch), at.h ?? all(heads), at.i ?? all(rows)];
  const width = pad?.cols ?? cols;
  const result = new Float32Array(bs.length * hs.length * is.length * width).fill(pad?.value ?? NaN);
  let row = 0;
  for (const b of bs) {
    for (const h of hs) {
      for (const i of is) {
        const from = ((b * heads + h) * rows + i) * cols;
        for (let c = 0; c < Math.min(cols, width); c++) result[row * width + c] = values[from + c] ?? NaN;
        row++;
      }
    }
  }
  return { values: result, shape: [bs.length, hs.length, is.length, width] };
}

/** Where a dimension of a broadcast operand is 1, indices along it are all 0. */
function pickBroadcast(operand: Operand | undefined, at: { b?: readonly number[]; h?: readonly number[]; i?: readonly number[] }): Operand | undefined {
  if (operand === undefined) return undefined;
  const [batch = 1, heads = 1, rows = 1] = operand.shape;
  return pick(operand.values, operand.shape, {
    ...(batch > 1 && at.b && { b: at.b }),
    ...(heads > 1 && at.h && { h: at.h }),
    ...(rows > 1 && at.i && { i: at.i }),
  });
}

/** The same bits in the given rows of a result. */
function expectSameRows(
  actual: Result,
  shape: readonly number[],
  expected: Result,
  whole: readonly number[],
  at: { b?: readonly number[]; h?: readonly number[]; i?: readonly number[] },
  label: string,
): void {
  const [, , , dim = 0] = whole;
  expectSameBits(actual.out, pick(expected.out, whole, at).values, label);
  expectSameBits(actual.lse, pick(expected.lse, [...whole.slice(0, 3), 1], at).values, `${label}, log-sum-exp`);
  expect(actual.out.length).toBe(countOf(shape.slice(0, 3)) * dim);
}

describeSubjects("bits of a row of attention", (subject) => {
  describe.each(byName(CASES))("%s", (_, c) => {
    const operands = operandsFor(c);
    const shapes = shapesOf(c);

    describe.each(byName(OPTIONS))("%s", (_, { optionsFor }) => {
      const options = optionsFor(c);

      test("do not depend on padded keys behind the length", async () => {
        for (const padding of [1, 3, 4, 60, 64, 1000]) {
          const keys = c.keys + padding;
          const longer = (values: Float32Array, [batch, heads, , dim]: readonly number[]): Float32Array => {
            const rows = pick(values, [batch ?? 0, heads ?? 0, 1, c.keys * (dim ?? 0)], {}, { cols: keys * (dim ?? 0), value: NaN });
            return rows.values;
          };
          const wider = (operand: Operand | undefined, value: number): Operand | undefined =>
            operand && pick(operand.values, operand.shape, {}, { cols: keys, value });
          const padded: Operands = { sizes: { ...c, keys }, q: operands.q, k: longer(operands.k, shapes.k), v: longer(operands.v, shapes.v) };
          const kvLengths = new Array<number>(c.batch).fill(c.keys);
          for (const way of waysOf(subject).slice(0, 2)) {
            const result = await run(subject, padded, { ...options, kvLengths, mask: wider(options.mask, 1), bias: wider(options.bias, NaN) }, way);
            expectSameRows(result, shapes.out, await run(subject, operands, options), shapes.out, {}, `${padding} keys, ${way.home}`);
          }
        }
      });

      test("do not depend on the position in the batch", async () => {
        const whole = await run(subject, operands, options);
        for (let b = 0; b < c.batch; b++) {
          const at = { b: [b] };
          const alone: Operands = {
            sizes: { ...c, batch: 1 },
            q: pick(operands.q, shapes.q, at).values,
            k: pick(operands.k, shapes.k, at).values,
            v: pick(operands.v, shapes.v, at).values,
          };
          const result = await run(subject, alone, { ...options, mask: pickBroadcast(options.mask, at), bias: pickBroadcast(options.bias, at) });
          expectSameRows(result, [1, ...shapes.out.slice(1)], whole, shapes.out, at, `batch ${b}`);
        }
      });

      test("do not depend on the other queries", async () => {
        const whole = await run(subject, operands, { ...options, queryOffset: c.keys - c.queries });
        // Runs of queries from everywhere, as long as the kernel stays the same.
        const kernel = kernelOf(c, subject.kind);
        let shortest = 1;
        while (kernelOf({ ...c, queries: shortest }, subject.kind) !== kernel) shortest++;
        for (let count = shortest; count < c.queries; count += kernel === "prefill" ? 9 : 1) {
          for (let first = 0; first + count <= c.queries; first += kernel === "prefill" ? 3 : 1) {
            const at = { i: Array.from({ length: count }, (_, n) => first + n) };
            const some: Operands = { ...operands, sizes: { ...c, queries: count }, q: pick(operands.q, shapes.q, at).values };
            const call = { ...options, queryOffset: c.keys - c.queries + first, mask: pickBroadcast(options.mask, at), bias: pickBroadcast(options.bias, at) };
            expectSameRows(
              await run(subject, some, call),
              [c.batch, c.heads, count, c.valueDim],
              whole,
              shapes.out,
              at,
              `queries ${first} to ${first + count}`,
            );
          }
        }
      });

      test("do not depend on the other heads", async () => {
        // One query head of each group; with one row less per key head the kernel may change, so only where it does not.
        const group = c.heads / c.kvHeads;
        const whole = await run(subject, operands, options);
        for (let g = 0; g < group; g++) {
          const h = Array.from({ length: c.kvHeads }, (_, n) => n * group + g);
          const fewer = { ...c, heads: c.kvHeads };
          if (kernelOf(fewer, subject.kind) !== kernelOf(c, subject.kind)) continue;
          const at = { h };
          const some: Operands = { ...operands, sizes: fewer, q: pick(operands.q, shapes.q, at).values };
          const perHead = (values: readonly number[] | undefined) => values && h.map((head) => values[head] ?? NaN);
          const call = {
            ...options,
            mask: pickBroadcast(options.mask, at),
            bias: pickBroadcast(options.bias, at),
            alibiSlopes: perHead(options.alibiSlopes),
            sinks: perHead(options.sinks),
          };
          expectSameRows(await run(subject, some, call), [c.batch, c.kvHeads, c.queries, c.valueDim], whole, shapes.out, at, `heads ${h.join()}`);
        }
      });

      test("do not depend on where the operands lie", async () => {
        const plain = await run(subject, operands, options);
        for (const way of waysOf(subject))
          expectSameRows(await run(subject, operands, options, way), shapes.out, plain, shapes.out, {}, `${way.home} ${way.layout}`);
      });

      test("do not depend on queries and keys that are not in use", async () => {
        const limits = { qLengths: lengths(c, c.queries), kvLengths: lengths(c, c.keys), queryOffset: c.keys - c.queries };
        const limited = await run(subject, operands, { ...options, ...limits });
        // What is not in use may hold anything.
        const dirty = { ...operands, q: operands.q.slice(), k: operands.k.slice(), v: operands.v.slice() };
        const spoil = (values: Float32Array, [, heads = 0, rows = 0, dim = 0]: readonly number[], used: readonly number[]): void => {
          for (let at = 0; at < values.length; at++) {
            const row = Math.floor(at / dim);
            if (row % rows >= (used[Math.floor(row / rows / heads)] ?? 0)) values[at] = NaN;
          }
        };
        spoil(dirty.q, shapes.q, limits.qLengths);
        spoil(dirty.k, shapes.k, limits.kvLengths);
        spoil(dirty.v, shapes.v, limits.kvLengths);
        for (const way of waysOf(subject))
          expectSameRows(await run(subject, dirty, { ...options, ...limits }, way), shapes.out, limited, shapes.out, {}, `${way.home} ${way.layout}`);
      });
    });
  });

  test("are the same with a mask as with a bias of -inf, and with masked keys left out at the end", async () => {
    const c = attentionCase({ heads: 2, queries: 70, keys: 131, dim: 8 });
    const operands = operandsFor(c);
    const byte = mask([c.queries, c.keys]);
    const float = { values: Float32Array.from(byte.values, (v) => (v === 0 ? -Infinity : 0)), shape: byte.shape };
    const [masked, biased] = [await run(subject, operands, { mask: byte }), await run(subject, operands, { bias: float })];
    expectSameBits(masked.out, biased.out);
    expectSameBits(masked.lse, biased.lse);
  });

  test.each([3, 150])("are the same with a block mask as with the mask that it stands for, %i queries", async (queries) => {
    const c = attentionCase({ batch: 2, heads: 2, queries, keys: 200, dim: 8, valueDim: 6 });
    const operands = operandsFor(c);
    const blockMask = documents(c.batch, c.heads);
    const shape = [c.batch, c.heads, c.queries, c.keys];
    const values = Array.from({ length: countOf(shape) }, (_, n) => {
      const [j, i, h, b] = [n % 200, Math.floor(n / 200) % queries, Math.floor(n / 200 / queries) % 2, Math.floor(n / 400 / queries)];
      return Number(blockMask.maskMod(b, h, i, j));
    });
    for (const options of [{}, { causal: true }, { bias: biasWithHoles([200]), windowSize: [70, 9] as const }]) {
      const [blocks, bytes] = [await run(subject, operands, { ...options, blockMask }), await run(subject, operands, { ...options, mask: { values, shape } })];
      expectSameBits(blocks.out, bytes.out);
      expectSameBits(blocks.lse, bytes.lse);
    }
  });

  // Two ways to an accumulator of -0, to which a key of weight 0 adds a zero of the sign of its value.
  test.each([
    ["its max rises by 300 and what was there underflows", -300, -1, 64],
    ["weight times value underflows", -69, -1e-30, 65],
  ])("do not depend on values that only other queries see, not even in the sign of a zero, where %s", async (_, low, value, top) => {
    // The first query sees the keys 6 to 70; the key of the largest score has the value -0, and so have those after it.
    const c = attentionCase({ queries: 70, keys: 140, dim: 1 });
    const shape = shapesOf(c);
    const options: AttentionOptions = { windowSize: [64, 0], queryOffset: 70, scale: 1 };
    const k = Float32Array.from({ length: 140 }, (_, j) => (j === top ? 0 : low));
    const output = async (behind: number): Promise<Float32Array> => {
      const v = Float32Array.from({ length: 140 }, (_, j) => (j < top ? value : j <= 70 ? -0 : behind));
      return pick((await run(subject, { sizes: c, q: new Float32Array(70).fill(1), k, v }, options)).out, shape.out, { i: [0] }).values;
    };
    expectSameBits(await output(-1), await output(1));
  });
});
