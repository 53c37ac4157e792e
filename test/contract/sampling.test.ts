import { describe, expect, test } from "vitest";
import { type SampleOptions, sample, tensor, topK, topKSoftmax } from "../../src/index.ts";
import { type BadInput, expectThrown, thrown } from "../support/thrown.ts";

// The messages of sampling, and that nothing is written when something is wrong.

const x = Float32Array.of(1, 2, 3, 4, 5, 6);

const BAD_K: readonly BadInput[] = [
  ["nothing", undefined, TypeError, '"k" expected an integer, got undefined'],
  ["a fraction", 1.5, RangeError, '"k" expected an integer from 1 to 3, got 1.5'],
  ["zero", 0, RangeError, '"k" expected an integer from 1 to 3, got 0'],
  ["more than the columns", 4, RangeError, '"k" expected an integer from 1 to 3, got 4'],
];

test.each(BAD_K)("k that is %s", (_, k, type, message) => {
  expectThrown(() => topK(tensor(x, [2, 3]), k as number), type, message);
  expectThrown(() => topKSoftmax(tensor(x, [2, 3]), k as number), type, message);
});

test.each<BadInput>([
  ["integers", new Int32Array(3), TypeError, '"x" expected float data (Float32Array, Float64Array), got Int32Array'],
  ["f64", new Float64Array(3), TypeError, '"x" expected dtype f32, got f64'],
  ["nothing in a row", tensor(new Float32Array(0), [2, 0]), RangeError, '"x" expected at least one element along axis 1, got shape [2, 0]'],
  ["a scalar", tensor(Float32Array.of(1), []), RangeError, '"x" expected at least one element along axis 0, got shape []'],
])("x that is %s", (_, value, type, message) => {
  expectThrown(() => topK(value as Float32Array, 1), type, message);
});

test.each<BadInput>([
  ["no object", 3, TypeError, '"out" expected an object, got 3'],
  ["of another result", { logProbs: new Float32Array(2) }, TypeError, '"out.logProbs" is no result here; expected values, indices'],
  ["of another dtype", { indices: new Float32Array(2) }, TypeError, '"out.indices" expected dtype i32, got f32'],
  ["of integers", { values: new Int32Array(2) }, TypeError, '"out.values" expected float data (Float32Array, Float64Array), got Int32Array'],
  ["too short", { values: new Float32Array(1) }, RangeError, '"out.values" expected 2 elements for shape [2], got 1'],
  ["the input", { values: x.subarray(0, 2) }, RangeError, '"out.values" overlaps "x"'],
])("out that is %s", (_, out, type, message) => {
  expectThrown(() => topK(x, 2, { out: out as never }), type, message);
});

test("results that overlap each other", () => {
  const buffer = new ArrayBuffer(16);
  const out = { values: new Float32Array(buffer, 0, 3), indices: new Int32Array(buffer, 4, 3) };
  expectThrown(() => topK(x, 3, { out }), RangeError, '"out.indices" overlaps "out.values"');
});

test("a scale that is not positive", () => {
  expectThrown(() => topKSoftmax(x, 1, { scale: 0 }), RangeError, '"scale" expected a positive number, got 0');
  expectThrown(() => topKSoftmax(x, 1, { scale: NaN }), RangeError, '"scale" expected a finite number, got NaN');
});

const BAD_OPTIONS: readonly BadInput<SampleOptions>[] = [
  ["an unknown name", { topk: 3 } as never, TypeError, '"topk" is not an option here: use topK; expected one of '],
  ["a negative temperature", { temperature: -1 }, RangeError, '"temperature" expected a number of at least 0, got -1'],
  ["a share above 1", { topP: 1.5 }, RangeError, '"topP" expected a number from 0 to 1, got 1.5'],
  ["a share that is NaN", { minP: NaN }, RangeError, '"minP" expected a finite number, got NaN'],
  ["a negative count", { topK: -1 }, RangeError, '"topK" expected an integer of at least 0, got -1'],
  ["a seed that is a fraction", { seed: 0.5 }, RangeError, '"seed" expected an integer of at least 0, got 0.5'],
  ["a step that is a string", { step: "1" as never }, TypeError, '"step" expected an integer, got "1"'],
  ["a penalty of zero", { repetitionPenalty: 0 }, RangeError, '"repetitionPenalty" expected a number greater than 0, got 0'],
  ["an infinite penalty", { presencePenalty: Infinity }, RangeError, '"presencePenalty" expected a finite number, got Infinity'],
  ["a bias of no token", { logitBias: { a: 1 } as never }, RangeError, '"logitBias" expected an integer from 0 to 5, got NaN'],
  ["a bias beyond the vocabulary", { logitBias: { 6: 1 } }, RangeError, '"logitBias" expected an integer from 0 to 5, got 6'],
  ["a bias of +inf", { logitBias: { 1: Infinity } }, RangeError, '"logitBias[1]" expected a finite number, got Infinity'],
  ["previous tokens that are a number", { previous: 3 as never }, TypeError, '"previous" expected an Int32Array or an array of tokens, got 3'],
  ["a previous token beyond the vocabulary", { previous: [7] }, RangeError, '"previous" expected an integer from 0 to 5, got 7'],
  ["previous tokens of too many rows", { previous: [[1], [2]] }, RangeError, '"previous" expected one list of tokens for all or one per row (1), got 2'],
];

test.each(BAD_OPTIONS)("sample with %s", (_, options, type, message) => {
  const error = thrown(() => sample(x, options));
  expect(error).toBeInstanceOf(type);
  expect(error.message.slice(0, message.length)).toBe(message);
});

describe("a row that cannot be sampled", () => {
  test.each([
    ["has NaN", [1, NaN, Infinity]],
    ["has +inf", [1, Infinity, 2]],
    ["has only −inf", [-Infinity, -Infinity, -Infinity]],
  ])("%s", (what, row) => {
    for (const options of [{}, { topK: 2 }, { topP: 0.5 }, { temperature: 0 }]) {
      const out = { tokens: new Int32Array(3).fill(-5), logProbs: new Float32Array(3).fill(-5) };
      const logits = tensor(Float32Array.of(1, 2, 3, ...row, 1, 2, 3), [3, 3]);
      expectThrown(() => sample(logits, { ...options, out }), RangeError, `"logits" expected rows that can be sampled, but row 1 ${what}`);
      expect([...out.tokens, ...out.logProbs]).toEqual(new Array(6).fill(-5));
    }
  });

  test("among the last of many, after several stages", () => {
    const [rows, cols] = [400, 1000];
    const logits = tensor(new Float32Array(rows * cols), [rows, cols]);
    logits.data.fill(-Infinity, 399 * cols);
    const tokens = new Int32Array(rows).fill(-5);
    expectThrown(() => sample(logits, { out: { tokens } }), RangeError, '"logits" expected rows that can be sampled, but row 399 has only −inf');
    expect(new Set(tokens)).toEqual(new Set([-5]));
  });

  test("a ban of every token", () => {
    expectThrown(
      () => sample(Float32Array.of(1), { logitBias: { 0: -Infinity } }),
      RangeError,
      '"logits" expected rows that can be sampled, but row 0 has only −inf',
    );
  });
});

test("no rows give no tokens", () => {
  const { tokens, logProbs } = sample(tensor(new Float32Array(0), [0, 5]));
  expect(tokens).toEqual({ data: new Int32Array(0), shape: [0], dtype: "i32" });
  expect(logProbs.shape).toEqual([0]);
  expect(topK(tensor(new Float32Array(0), [0, 5]), 2).values.shape).toEqual([0, 2]);
});
