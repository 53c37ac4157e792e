import { createBlockMask } from "../../src/ops/create-block-mask.ts";
import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { attentionCase } from "../cases/attention.ts";
import { sinks } from "../cases/attention-options.ts";
import type { AttentionOptions } from "../reference/attention.ts";
import {
  type Operands,
  Placements,
  expectAttention,
  expectedOf,
  expectedScores,
  libraryOptions,
  operandsFor,
  run,
  shapesOf,
  toleranceFor,
} from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { store } from "../support/layouts.ts";
import { maskBytes, numbers } from "../support/numbers.ts";
import { expectClose, expectSameBits, toleranceOf } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";

// Sentences of SEMANTICS, "Attention", about special cases, with results that can be seen to be right.

/** Which keys each query sees: rows of x and dots. */
interface Visibility {
  readonly name: string;
  readonly options: AttentionOptions;
  readonly sees: readonly string[];
}

const VISIBILITY: readonly Visibility[] = [
  { name: "everything", options: {}, sees: ["xxxx", "xxxx"] },
  { name: "causal: true", options: { causal: true }, sees: ["xxx.", "xxxx"] },
  { name: "lower-right", options: { causal: "lower-right" }, sees: ["xxx.", "xxxx"] },
  { name: "upper-left", options: { causal: "upper-left" }, sees: ["x...", "xx.."] },
  { name: "lower-right, more queries than keys", options: { causal: true }, sees: ["..", "..", "x.", "xx"] },
  { name: "upper-left, more queries than keys", options: { causal: "upper-left" }, sees: ["x.", "xx", "xx", "xx"] },
  { name: "an offset instead", options: { causal: "upper-left", queryOffset: 1 }, sees: ["xx..", "xxx."] },
  { name: "a negative offset", options: { causal: true, queryOffset: -1 }, sees: ["....", "x..."] },
  { name: "lower-right of the keys in use", options: { causal: true, kvLengths: [3] }, sees: ["xx..", "xxx."] },
  { name: "upper-left of the keys in use", options: { causal: "upper-left", kvLengths: [1] }, sees: ["x...", "x..."] },
  { name: "lower-right of the queries in use", options: { causal: true, qLengths: [2] }, sees: ["xxx.", "xxxx", "...."] },
  { name: "a window of two tokens", options: { windowSize: [1, 0] }, sees: [".xx.", "..xx"] },
  { name: "a window that looks ahead", options: { windowSize: [0, 1] }, sees: ["..xx", "...x"] },
  { name: "a window around the diagonal", options: { windowSize: [1, 1], queryOffset: 0 }, sees: ["xx..", "xxx."] },
  { name: "a causal window that looks ahead in vain", options: { windowSize: [1, 1], causal: "upper-left" }, sees: ["x...", "xx.."] },
  { name: "a window open to the left", options: { windowSize: [Infinity, 0], queryOffset: 0 }, sees: ["x...", "xx.."] },
  { name: "a window open to the right", options: { windowSize: [0, Infinity], queryOffset: 1 }, sees: [".xxx", "..xx"] },
  { name: "a window before all keys", options: { windowSize: [2, 2], queryOffset: -9 }, sees: ["....", "...."] },
  { name: "a window behind all keys", options: { windowSize: [2, 2], queryOffset: 9 }, sees: ["....", "...."] },
];

/** Everything that can hide all keys of the last query; the others see something. */
const EMPTY_ROWS: readonly { name: string; options: AttentionOptions }[] = [
  { name: "mask", options: { mask: { values: [1, 1, 1, 0], shape: [4, 1] } } },
  { name: "bias of -inf", options: { bias: { values: [1, 2, 3, -Infinity], shape: [4, 1] } } },
  { name: "blockMask", options: { blockMask: { maskMod: (_b, _h, q) => q !== 3, batch: 1, heads: 1 } } },
  { name: "window", options: { windowSize: [1, Infinity], queryOffset: 68 } },
  { name: "qLengths", options: { qLengths: [3] } },
  {
    name: "mask and bias, half each",
    options: {
      mask: { values: numbersFrom(280, (i) => i < 210 || i % 2), shape: [4, 70] },
      bias: { values: numbersFrom(280, (i) => (i < 210 || i % 2 === 0 ? 0 : -Infinity)), shape: [4, 70] },
    },
  },
];

/** What the logarithm of a small whole number may be off by: nothing on the CPU, what WGSL says on the GPU. */
const LOGARITHM = { wasm: { relative: 0, absolute: 0 }, webgpu: { relative: 4e-7, absolute: 2 ** -21 } } as const;

function numbersFrom(count: number, value: (i: number) => number | boolean): number[] {
  return Array.from({ length: count }, (_, i) => Number(value(i)));
}

describeSubjects("special cases of attention", (subject) => {
  describe.each(byName(VISIBILITY))("%s", (_, { options, sees }) => {
    const c = attentionCase({ queries: sees.length, keys: sees[0]?.length ?? 0, dim: 1 });
    const operands = operandsFor(c);
    const picture = (scores: ArrayLike<number>): string => Array.from(scores, (s) => (s === -Infinity ? "." : "x")).join("");

    test("the reference", () => expect(picture(expectedScores(operands, options, "masked"))).toBe(sees.join("")));

    test("the scores", async () => {
      const call = await libraryOptions(options, c, new Placements(subject, "array"));
      const scores = await subject.attentionScores(tensor(operands.q, [c.queries, 1]), tensor(operands.k, [c.keys, 1]), { ...call, stage: "masked" });
      expect(picture(scores.data)).toBe(sees.join(""));
    });

    test("the output", async () => {
      // Scores of 0 give the mean of the values that are seen.
      const { out, lse } = await run(subject, operands, { ...options, scale: 0 });
      sees.forEach((row, i) => {
        const seen = Array.from(row).flatMap((cell, j) => (cell === "x" ? [operands.v[j] ?? NaN] : []));
        expect(out[i]).toBeCloseTo(seen.length === 0 ? 0 : seen.reduce((a, b) => a + b) / seen.length, 5);
      });
      expectClose(
        lse,
        sees.map((row) => Math.fround(Math.log(row.replaceAll(".", "").length))),
        LOGARITHM[subject.kind],
      );
    });
  });

  describe.each(byName(EMPTY_ROWS))("a query that sees nothing because of %s", (name, { options }) => {
    const c = attentionCase({ heads: 2, queries: 4, keys: 70, dim: 8, valueDim: 5 });
    const operands = operandsFor(c);

    test("gives 0 and -inf, and is not the mean of V", async () => {
      const { out, lse } = await run(subject, operands, options);
      expectAttention({ out, lse }, expectedOf(operands, options), toleranceFor(operands, options, subject.kind), name);
      for (const head of [0, 1]) {
        expect(lse[head * 4 + 3]).toBe(-Infinity);
        expect([...out.subarray(head * 20 + 15, head * 20 + 20)].map(Math.abs)).toEqual([0, 0, 0, 0, 0]);
        expect(lse[head * 4]).toBeGreaterThan(-100);
      }
    });

    test("with sinks gives 0 and the sink, unless it is not in use", async () => {
      const { out, lse } = await run(subject, operands, { ...options, sinks: [0.25, -7] });
      expect([lse[3], lse[7]]).toEqual(options.qLengths === undefined ? [0.25, -7] : [-Infinity, -Infinity]);
      expect([...out.subarray(15, 20), ...out.subarray(35, 40)].map(Math.abs)).toEqual(new Array(10).fill(0));
    });
  });

  describe("finite biases are no masks", () => {
    const c = attentionCase({ heads: 2, queries: 40, keys: 70, dim: 8, valueDim: 5 });
    const operands = { ...operandsFor(c), k: new Float32Array(shapesOf(c).k.reduce((a, b) => a * b)) };

    // Beside the lowest f32 no score is left, so that all keys count the same.
    test.each([-40000, -1e30, -3.4028234663852886e38])("%d", async (value) => {
      const { out, lse } = await run(subject, operands, { bias: { values: [value], shape: [1] } });
      const mean = await run(subject, operands, { scale: 0 });
      expectSameBits(out, mean.out);
      expectClose(
        lse,
        mean.lse.map((l) => Math.fround(l + value)),
        { relative: 2 ** -24, absolute: 0 },
      );
    });

    test("and beside -inf they win", async () => {
      const values = Float32Array.from({ length: 70 }, (_, j) => (j === 13 ? -3.4028234663852886e38 : -Infinity));
      const { out } = await run(subject, operands, { bias: { values, shape: [70] } });
      for (let row = 0; row < 80; row++)
        expectSameBits(out.slice(row * 5, row * 5 + 5), operands.v.slice((Math.floor(row / 40) * 70 + 13) * 5, (Math.floor(row / 40) * 70 + 13) * 5 + 5));
    });
  });

  test("a sink of -inf changes no bit", async () => {
    for (const c of [attentionCase({ heads: 3, queries: 5, keys: 70, dim: 8 }), attentionCase({ heads: 3, queries: 70, keys: 70, dim: 8 })]) {
      const operands = operandsFor(c);
      const [without, minusInf] = [
        await run(subject, operands, { causal: true }),
        await run(subject, operands, { causal: true, sinks: [-Infinity, -Infinity, -Infinity] }),
      ];
      expectSameBits(minusInf.out, without.out);
      expectSameBits(minusInf.lse, without.lse);
    }
  });

  test("a sink takes its share of the denominator, and counts once in the log-sum-exp", async () => {
    const c = attentionCase({ heads: 2, queries: 1, keys: 3, dim: 1 });
    const { out, lse } = await run(
      subject,
      { sizes: c, q: new Float32Array(2), k: new Float32Array(6), v: new Float32Array(6).fill(12) },
      { sinks: [0, Math.log(3)] },
    );
    const tolerance = toleranceOf("softmax", "f32", subject.kind);
    expectClose(out, [9, 6], tolerance);
    expectClose(lse, [Math.log(4), Math.log(6)], tolerance);
  });

  test("S = 0 with sinks gives 0 and the sink", async () => {
    const c = attentionCase({ heads: 3, queries: 2, keys: 0, dim: 4 });
    const { out, lse } = await run(subject, operandsFor(c), { sinks: sinks(c) });
    expect([...out]).toEqual(new Array(24).fill(0));
    expect([...lse]).toEqual([2, 2, 1, 1, 0, 0]);
  });

  describe("NaN and infinities reach the rows that see them, and no other", () => {
    const c = attentionCase({ heads: 2, queries: 70, keys: 70, dim: 8, valueDim: 5 });
    const clean = operandsFor(c);
    const rowsOf = async (operands: Operands, options: AttentionOptions = {}, cleanOptions = options) => {
      const [result, plain] = [await run(subject, operands, options), await run(subject, clean, cleanOptions)];
      return Array.from(result.lse, (lse, row) => {
        const [out, before] = [result.out.slice(row * 5, row * 5 + 5), plain.out.slice(row * 5, row * 5 + 5)];
        if (Object.is(lse, plain.lse[row]) && out.every((v, e) => Object.is(v, before[e]))) return "same";
        return out.every((v) => Number.isNaN(v)) ? "NaN" : "other";
      });
    };
    /** Asserts that the rows which see it are NaN, where that is promised, and that no other row has changed. */
    const expectRows = (rows: readonly string[], sees: (row: number) => boolean): void => {
      expect(rows.map((row, i) => (sees(i) && !subject.propagates ? "any" : row))).toEqual(
        rows.map((_, i) => (!sees(i) ? "same" : subject.propagates ? "NaN" : "any")),
      );
    };
    const changed = (values: Float32Array, at: number, value: number): Float32Array => values.map((v, i) => (i === at ? value : v));

    test.each([NaN, Infinity])("%d in a query", async (value) => {
      const rows = await rowsOf({ ...clean, q: changed(clean.q, 33 * 8 + 2, value) });
      expectRows(rows, (row) => row === 33);
    });

    test("NaN in a key", async () => {
      const rows = await rowsOf({ ...clean, k: changed(clean.k, 33 * 8 + 2, NaN) }, { causal: true });
      expectRows(rows, (row) => row >= 33 && row < 70);
    });

    test("a score of +inf makes its row NaN", async () => {
      const shape = [70, 1];
      const rows = await rowsOf(
        clean,
        { bias: { values: numbersFrom(70, (i) => (i === 9 ? Infinity : 0)), shape } },
        { bias: { values: new Float32Array(70), shape } },
      );
      expectRows(rows, (row) => row % 70 === 9);
    });

    test("a key of -inf is masked where queries are positive", async () => {
      const positive = { ...clean, q: clean.q.map((v) => Math.abs(v) + 0.1) };
      const masked = await run(subject, positive, { mask: { values: numbersFrom(70, (j) => j !== 33), shape: [70] } });
      const k = positive.k.map((v, i) => (Math.floor(i / 8) % 70 === 33 && i % 8 === 2 ? -Infinity : v));
      const result = await run(subject, { ...positive, k });
      expectSameBits(result.out, masked.out);
      expectSameBits(result.lse, masked.lse);
    });
  });

  test("masks are bytes: not zero is attend, whatever the number", async () => {
    const c = attentionCase({ queries: 9, keys: 70, dim: 8 });
    const bytes = maskBytes(630);
    const shape = [9, 70];
    const expected = await run(subject, operandsFor(c), { mask: { values: bytes.map((b) => (b === 0 ? 0 : 1)), shape } });
    expectSameBits((await run(subject, operandsFor(c), { mask: { values: bytes, shape } })).out, expected.out);
  });
});

describeSubjects("keys far from the first", (subject) => {
  // Masks and biases that are copied in parts are addressed from key 0, which lies the further before the copy the later the
  // part: no address may mean "none" by accident. All dimensions, because they decide where the copies lie.
  const LOOKS = [
    { name: "bias", keys: 32768, dims: 16 },
    { name: "mask", keys: 98304, dims: 4 },
  ] as const;

  test.each(byName(LOOKS))("%s of many keys, copied in parts, has the bits of one in place", async (name, { keys, dims }) => {
    const data = numbers("normal", keys * dims);
    const values = name === "bias" ? numbers("wide", keys) : maskBytes(keys);
    const own = subject.homes.at(-1) ?? "array";
    const all = await store(subject, own, data);
    for (let dim = 1; dim <= dims; dim++) {
      const operand = (rows: number, size: number) => all.view(0, [rows, size]);
      const results: unknown[] = [];
      for (const home of ["array", own] as const) {
        const placements = new Placements(subject, home);
        const option = name === "bias" ? { bias: await placements.floats(values, [keys]) } : { mask: await placements.bytes(values, [keys]) };
        const { out, lse } = await subject.attention(operand(1, dim), operand(keys, dim), operand(keys, 1), { ...option, returnLse: true });
        results.push([await subject.read(out), await subject.read(lse)]);
        placements.dispose();
      }
      expect(results[0], `E = ${dim}`).toEqual(results[1]);
    }
    all.dispose();
  });

  // One workgroup of the GPU takes them one tile after the other: a minute on a software driver.
  const MANY = { wasm: 1_310_720, webgpu: 131_072 }[subject.kind];

  test(`blockMask of ${MANY} keys`, async () => {
    const keys = MANY;
    const sees = (j: number): boolean => j % 3 === 0;
    const q = tensor(new Float32Array(1), [1, 1]);
    const k = tensor(new Float32Array(keys), [keys, 1]);
    const v = tensor(
      Float32Array.from({ length: keys }, (_, j) => (sees(j) ? 0 : 1)),
      [keys, 1],
    );
    const blockMask = createBlockMask((_b, _h, _q, j) => sees(j), { queryLength: 1, keyLength: keys });
    const { out, lse } = await subject.attention(q, k, v, { blockMask, returnLse: true });
    expect(out.data[0]).toBe(0);
    expect(lse.data[0]).toBeCloseTo(Math.log(Math.ceil(keys / 3)), 5);
  });
});
