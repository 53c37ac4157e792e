import { createBlockMask } from "../../src/ops/create-block-mask.ts";
import { describe, expect, test } from "vitest";
import { type AttentionOptions, parseAttention } from "../../src/ops/attention.ts";
import { parseAttentionScores } from "../../src/ops/attention-scores.ts";
import { parseAttentionVarlen } from "../../src/ops/attention-varlen.ts";
import { keyRange, visibleScores } from "../../src/calls/key-range.ts";
import { parseLogSumExp } from "../../src/ops/log-sum-exp.ts";
import { parseMergeStates } from "../../src/ops/merge-states.ts";
import { parseSoftmax } from "../../src/ops/softmax.ts";
import { workOf } from "../../src/calls/work.ts";
import { standIn, workOfShapes } from "../../src/engine/explain.ts";
import { rowWork, workOf as workOfSizes } from "./grid.ts";
import { fc } from "../support/property.ts";

const f32 = (...shape: number[]) => standIn(shape, "f32");

function attention(q: number[], k: number[], v: number[], options: AttentionOptions = {}) {
  return workOf(parseAttention(f32(...q), f32(...k), f32(...v), options), "host");
}

describe("row operations", () => {
  test("softmax is sent and comes back", () => {
    const work = workOf(parseSoftmax(f32(4, 100)), "host");
    expect(work).toMatchObject({ kernel: "rows", dtype: "f32", resultPlace: "host", bytesIn: 1600, bytesOut: 1600, rowBytes: 3200 });
    expect(work.operands).toEqual([{ name: "x", place: "host", bytes: 1600 }]);
    expect(work.parts.cpu).toBe(4);
  });

  test("rows run along any axis", () => {
    expect(workOf(parseSoftmax(f32(4, 100), { axis: 0 })).parts.cpu).toBe(100);
    expect(workOf(parseLogSumExp(f32(2, 3, 4), { axis: [0, 2] })).parts.cpu).toBe(3);
    expect(workOf(parseLogSumExp(f32(2, 3, 4), { axis: [] })).parts.cpu).toBe(24);
  });

  test("logSumExp brings back one number per row, whose logarithm costs more than softmax's row", () => {
    const work = workOf(parseLogSumExp(f32(4, 100)), "host");
    expect(work).toMatchObject({ bytesIn: 1600, bytesOut: 16, rowBytes: 1616 });
    expect(work.rowElements).toBeGreaterThan(rowWork("softmax", [4, 100], "host").rowElements);
  });

  test("what rows cost beside their elements counts for many short ones", () => {
    expect(rowWork("softmax", [1000, 8], "host").rowElements).toBeGreaterThan(2 * rowWork("softmax", [8, 1000], "host").rowElements);
  });

  test("bias and mask are sent too", () => {
    const work = workOf(parseSoftmax(new Float32Array(12), { bias: new Float32Array(12), mask: new Uint8Array(12) }));
    expect(work.operands.map(({ name, bytes }) => `${name} ${bytes}`)).toEqual(["x 48", "bias 48", "mask 12"]);
    expect(work.bytesIn).toBe(108);
  });

  test("results go where the first operand is, unless out is elsewhere", () => {
    expect(workOf(parseSoftmax(f32(2, 3)))).toMatchObject({ resultPlace: "gpu", bytesIn: 0, bytesOut: 0 });
    expect(workOf(parseSoftmax({ data: new Float32Array(6), shape: [2, 3] }, { mask: standIn([2, 3], "u8") as never }))).toMatchObject({
      resultPlace: "host",
      bytesIn: 24,
      bytesOut: 24,
    });
    expect(workOf(parseSoftmax(new Float32Array(6), { out: standIn([6], "f32") as never }))).toMatchObject({ resultPlace: "gpu", bytesIn: 24, bytesOut: 0 });
    expect(workOf(parseSoftmax(f32(2, 3), { out: new Float32Array(6) }))).toMatchObject({ resultPlace: "host", bytesOut: 24 });
  });

  test("a dtype that is only assumed has the bytes of that dtype", () => {
    expect(workOfShapes("softmax", { x: [10] }, { dtype: "f64" })).toMatchObject({ dtype: "f64", bytesIn: 80, bytesOut: 80 });
    expect(workOf(parseSoftmax(standIn([10], "f16")), "host")).toMatchObject({ dtype: "f16", bytesIn: 20, bytesOut: 40 });
  });

  test("empty calls are no work", () => {
    expect(workOf(parseSoftmax(f32(0, 5)), "host")).toMatchObject({ rowElements: 0, rowBytes: 0, bytesIn: 0, bytesOut: 0 });
  });
});

describe("attention", () => {
  test("dense prefill", () => {
    const work = attention([2, 4, 128, 16], [2, 4, 200, 16], [2, 4, 200, 8]);
    const scores = 2 * 4 * 128 * 200;
    expect(work).toMatchObject({ kernel: "prefill", scores, multiplyAdds: scores * 24, keyBytes: 0 });
    expect(work.bytesIn).toBe(4 * 2 * 4 * (128 * 16 + 200 * 24));
    expect(work.bytesOut).toBe(4 * 2 * 4 * 128 * 8);
    // A block of 64 queries of one head is not divided.
    expect(work.parts).toEqual({ cpu: 16, gpu: 16 });
  });

  test("causality halves the scores, not the bytes", () => {
    const dense = attention([1, 1, 256, 16], [1, 1, 256, 16], [1, 1, 256, 16]);
    const causal = attention([1, 1, 256, 16], [1, 1, 256, 16], [1, 1, 256, 16], { causal: true });
    expect(causal.scores).toBe((256 * 257) / 2);
    expect(causal.bytesIn).toBe(dense.bytesIn);
    // The last block is the whole width.
    expect(causal.parts.cpu).toBeCloseTo((256 * 257) / 2 / (64 * 256), 6);
  });

  test("decode reads the keys that are seen once for all queries of a key/value head", () => {
    const work = attention([32, 1, 64], [8, 4096, 64], [8, 4096, 64], { causal: true });
    expect(work).toMatchObject({ kernel: "decode", scores: 32 * 4096, keyBytes: 8 * 4096 * 128 * 4 });
    expect(work.parts.cpu).toBe(8 * 4);
    const windowed = attention([32, 1, 64], [8, 4096, 64], [8, 4096, 64], { causal: true, windowSize: [255, 0] });
    expect(windowed).toMatchObject({ scores: 32 * 256, keyBytes: 8 * 256 * 128 * 4, bytesIn: work.bytesIn });
  });

  test.each([
    [8, 2, 16, "decode"],
    [8, 2, 17, "prefill"],
    [8, 8, 64, "decode"],
    [8, 8, 65, "prefill"],
  ] as const)("%i heads over %i, %i queries: %s", (heads, kvHeads, queries, kernel) => {
    expect(attention([heads, queries, 8], [kvHeads, 100, 8], [kvHeads, 100, 8]).kernel).toBe(kernel);
  });

  test("lengths, block masks and the log-sum-exp count", () => {
    const full = attention([2, 1, 128, 8], [2, 1, 128, 8], [2, 1, 128, 8]);
    const short = attention([2, 1, 128, 8], [2, 1, 128, 8], [2, 1, 128, 8], { kvLengths: [128, 32], qLengths: [64, 128] });
    expect(short.scores).toBe(64 * 128 + 128 * 32);
    const blockMask = createBlockMask((_b, _h, q, k) => q < 64 && k < 64, { queryLength: 128, keyLength: 128 });
    expect(attention([2, 1, 128, 8], [2, 1, 128, 8], [2, 1, 128, 8], { blockMask }).scores).toBe(full.scores / 4);
    // Few queries go to the prefill kernel with a block mask.
    expect(attention([1, 8], [128, 8], [128, 8], { blockMask: createBlockMask(() => true, { queryLength: 1, keyLength: 128 }) }).kernel).toBe("prefill");
    expect(attention([2, 1, 128, 8], [2, 1, 128, 8], [2, 1, 128, 8], { returnLse: true }).bytesOut).toBe(full.bytesOut + 2 * 128 * 4);
  });

  test("a ragged batch is the sum of its sequences", () => {
    const options = { cuSeqlensQ: [0, 1, 101], cuSeqlensK: [0, 50, 150], causal: true };
    const work = workOf(parseAttentionVarlen(f32(101, 2, 8), f32(150, 2, 8), f32(150, 2, 8), options), "host");
    expect(work.scores).toBe(2 * (50 + (100 * 101) / 2));
    // One sequence decodes, the other does not.
    expect(work.kernel).toBe("prefill");
    expect(work.keyBytes).toBe(2 * 50 * 16 * 4);
  });

  test("no keys, no work", () => {
    expect(attention([2, 8], [0, 8], [0, 8])).toMatchObject({ scores: 0, flops: 0, keyBytes: 0, parts: { cpu: 1, gpu: 1 } });
  });

  test("shapes alone give the work of the call", () => {
    const sizes = { op: "attention", heads: 6, kvHeads: 2, queries: 100, keys: 130, dim: 16, causal: true, windowLeft: 40 } as const;
    const parsed = attention([6, 100, 16], [2, 130, 16], [2, 130, 16], { causal: true, windowSize: [40, Infinity] });
    expect(workOfSizes(sizes)).toEqual(parsed);
    expect(rowWork("logSumExp", [5, 7], "gpu")).toEqual(workOf(parseLogSumExp(f32(5, 7))));
  });

  test("the closed form counts what every query sees", () => {
    const bound = fc.oneof(fc.nat(20), fc.constant(Infinity));
    fc.assert(
      fc.property(
        fc.nat(40),
        fc.nat(40),
        fc.integer({ min: -50, max: 50 }),
        fc.boolean(),
        bound,
        bound,
        (queryLength, keyLength, offset, causal, windowLeft, windowRight) => {
          const rule = { causal, windowLeft, windowRight };
          let seen = 0;
          for (let i = 0; i < queryLength; i++) {
            const [low, high] = keyRange(offset + i, keyLength, rule);
            seen += high - low;
          }
          const sequence = { batch: 0, queryStart: 0, keyStart: 0, rows: queryLength, queryLength, keyLength, offset };
          expect(visibleScores(sequence, rule)).toBe(seen);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("what a GPU has to see at once", () => {
  test("is a row, along any axis, of the operand that reaches farthest", () => {
    expect(workOf(parseSoftmax(f32(4, 100))).spanBytes).toBe(400);
    expect(workOf(parseSoftmax(f32(4, 100), { axis: 0 })).spanBytes).toBe(4 * 301);
    expect(workOf(parseSoftmax(standIn([4, 100], "f16"))).spanBytes).toBe(400);
    expect(workOf(parseLogSumExp(f32(4, 100), { axis: [0, 1] })).spanBytes).toBe(1600);
    const mask = { data: new Uint8Array(30000), shape: [100], strides: [300] };
    expect(workOf(parseSoftmax(new Float32Array(100), { mask })).spanBytes).toBe(99 * 300 + 1);
  });

  test("are the keys of a head, in either layout, and no more rows than a block has", () => {
    expect(attention([2, 8, 1000, 16], [2, 4, 2000, 16], [2, 4, 2000, 8]).spanBytes).toBe(4 * 2000 * 16);
    expect(attention([2, 1000, 8, 16], [2, 2000, 4, 16], [2, 2000, 4, 8], { layout: "blhd" }).spanBytes).toBe(4 * (1999 * 64 + 16));
    expect(attention([2, 8, 1000, 16], [2, 4, 2000, 16], [2, 4, 2000, 8], { bias: f32(1000, 2000) as never }).spanBytes).toBe(4 * 64 * 2000);
    // Columns of a matrix are packed on the way.
    const turned = { data: new Float32Array(300 * 8), shape: [300, 8], strides: [1, 300] };
    expect(workOf(parseAttention({ data: new Float32Array(8), shape: [1, 8] }, turned, turned)).spanBytes).toBe(4 * 300 * 8);
    expect(workOf(parseAttentionScores(f32(2, 100, 8), f32(2, 2000, 8))).spanBytes).toBe(4 * 64 * 2000);
  });
});

test("the matrix of scores is written and passed over once more", () => {
  const work = workOf(parseAttentionScores(f32(2, 10, 8), f32(2, 20, 8)), "host");
  expect(work).toMatchObject({ bytesOut: 2 * 10 * 20 * 4, multiplyAdds: 2 * 10 * 20 * 8, keyBytes: 0 });
  expect(work.operands.map(({ name }) => name)).toEqual(["q", "k"]);
  expect(work.rowElements).toBeGreaterThan(400);
});

test("merging reads all parts and writes one", () => {
  const part = { out: f32(2, 3, 8), lse: f32(2, 3) };
  const work = workOf(parseMergeStates([part, part, part]), "host");
  expect(work).toMatchObject({ kernel: "merge", bytesIn: 3 * 54 * 4, bytesOut: 54 * 4, rowBytes: 4 * 54 * 4 });
  expect(work.operands.map(({ name }) => name)).toContain("parts[2].lse");
});
