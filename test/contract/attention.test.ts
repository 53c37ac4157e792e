import { createBlockMask } from "../../src/ops/create-block-mask.ts";
import { describe, expect, test } from "vitest";
import {
  type AttentionOptions,
  type AttentionVarlenOptions,
  DisposedError,
  type PartialAttention,
  UnsupportedError,
  alibiSlopes,
  attention,
  attentionScores,
  attentionVarlen,
  mergeStates,
  scaledDotProductAttention,
  tensor,
} from "../../src/index.ts";
import { createInstance } from "../../src/testing/testing.ts";
import { type BadInput, type ErrorType, expectThrown as expectError, thrown } from "../support/thrown.ts";

// Bad input: the type of error, and the message in full, which starts with the quoted name of the argument. What TypeScript
// would refuse comes from JavaScript, so most of this is cast.

const instance = createInstance();
const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);

/** B = 2, Hq = 4, Hkv = 2, L = 3, S = 5, E = 8, Ev = 6. */
const [q, k, v] = [zeros(2, 4, 3, 8), zeros(2, 2, 5, 8), zeros(2, 2, 5, 6)];

/** The error, its message, and that memory is as it was. */
function expectThrown(run: () => unknown, type: ErrorType, message: string): void {
  const { memory } = instance;
  const before = [memory.byteLength, memory.usedBytes];
  expectError(run, type, message);
  expect([memory.byteLength, memory.usedBytes]).toEqual(before);
}

/** Inputs that replace one of q, k and v; the others are right for it. */
const OPERANDS: readonly BadInput<Partial<Record<"q" | "k" | "v", unknown>>>[] = [
  ["a q that is undefined", { q: undefined }, TypeError, '"q" expected a typed array or a tensor, got undefined'],
  ["a k of one dimension", { k: [1] }, RangeError, '"k" expected 4 dimensions as "q", got shape [1]'],
  ["a v without data", { v: {} }, TypeError, '"v" expected a typed array or a tensor with "data" and "shape", got Object'],
  ["a q of f64", { q: tensor(new Float64Array(192), [2, 4, 3, 8]) }, TypeError, '"q" expected dtype f32, got f64; attention computes f32'],
  ["a k of f64", { k: tensor(new Float64Array(160), [2, 2, 5, 8]) }, TypeError, '"k" expected dtype f32, got f64; attention computes f32'],
  ["a v of f64", { v: tensor(new Float64Array(120), [2, 2, 5, 6]) }, TypeError, '"v" expected dtype f32, got f64; attention computes f32'],
  ["a q of one dimension", { q: zeros(8) }, RangeError, '"q" expected 2 to 4 dimensions, got shape [8]'],
  ["a q of five dimensions", { q: zeros(1, 2, 4, 3, 8) }, RangeError, '"q" expected 2 to 4 dimensions, got shape [1, 2, 4, 3, 8]'],
  ["a k of fewer dimensions", { k: zeros(2, 5, 8) }, RangeError, '"k" expected 4 dimensions as "q", got shape [2, 5, 8]'],
  ["a v of fewer dimensions", { v: zeros(2, 5, 8) }, RangeError, '"v" expected 4 dimensions as "q", got shape [2, 5, 8]'],
  ["a k of another batch", { k: zeros(1, 2, 5, 8) }, RangeError, '"k" expected batch 2 as in "q", got 1'],
  ["a v of another batch", { v: zeros(3, 2, 5, 6) }, RangeError, '"v" expected batch 2 as in "q", got 3'],
  ["a k of another head dimension", { k: zeros(2, 2, 5, 6) }, RangeError, '"k" expected last dimension 8 as in "q", got 6'],
  ["a v of other heads", { v: zeros(2, 4, 5, 6) }, RangeError, '"v" expected 2 heads as in "k", got 4'],
  ["a v of another length", { v: zeros(2, 2, 4, 6) }, RangeError, '"v" expected length 5 as in "k", got 4'],
  ["heads that do not divide", { k: zeros(2, 3, 5, 8), v: zeros(2, 3, 5, 6) }, RangeError, '"k" expected a number of heads that divides the 4 of "q", got 3'],
  [
    "more key heads than query heads",
    { k: zeros(2, 8, 5, 8), v: zeros(2, 8, 5, 6) },
    RangeError,
    '"k" expected a number of heads that divides the 4 of "q", got 8',
  ],
  ["no key heads", { k: zeros(2, 0, 5, 8), v: zeros(2, 0, 5, 6) }, RangeError, '"k" expected a number of heads that divides the 4 of "q", got 0'],
  ["a head dimension of 0", { q: zeros(2, 4, 3, 0), k: zeros(2, 2, 5, 0) }, RangeError, '"q" expected a last dimension of at least 1, got 0'],
  ["a value dimension of 0", { v: zeros(2, 2, 5, 0) }, RangeError, '"v" expected a last dimension of at least 1, got 0'],
];

const OPTIONS: readonly BadInput[] = [
  ["options that are null", null, TypeError, '"options" expected an object, got null'],
  ["options that are an array", [], TypeError, '"options" expected an object, got []'],
  ["a layout of another name", { layout: "bshd" }, RangeError, '"layout" expected "bhld" | "blhd", got "bshd"'],
  ["a layout that is a number", { layout: 1 }, TypeError, '"layout" expected "bhld" | "blhd", got 1'],
  ["a scale of NaN", { scale: NaN }, RangeError, '"scale" expected a finite number, got NaN'],
  ["an infinite scale", { scale: -Infinity }, RangeError, '"scale" expected a finite number, got -Infinity'],
  ["a scale that is a string", { scale: "1" }, TypeError, '"scale" expected a number, got "1"'],
  ["a causal of another name", { causal: "right" }, RangeError, '"causal" expected true, false, "lower-right" or "upper-left", got "right"'],
  ["a causal that is a number", { causal: 1 }, TypeError, '"causal" expected true, false, "lower-right" or "upper-left", got 1'],
  ["a window that is a number", { windowSize: 3 }, TypeError, '"windowSize" expected [left, right], got 3'],
  ["a window of one number", { windowSize: [3] }, TypeError, '"windowSize" expected [left, right], got [3]'],
  ["a window of -1, which is not open here", { windowSize: [-1, 0] }, RangeError, '"windowSize" expected non-negative integers or Infinity, got [-1, 0]'],
  ["half a window", { windowSize: [1, 0.5] }, RangeError, '"windowSize" expected non-negative integers or Infinity, got [1, 0.5]'],
  ["a window of NaN", { windowSize: [NaN, 0] }, RangeError, '"windowSize" expected non-negative integers or Infinity, got [NaN, 0]'],
  ["half an offset", { queryOffset: 0.5 }, RangeError, '"queryOffset" expected integers, got 0.5'],
  ["an offset of NaN", { queryOffset: NaN }, RangeError, '"queryOffset" expected integers, got NaN'],
  ["an offset that is a string", { queryOffset: "1" }, TypeError, '"queryOffset" expected an integer, an Int32Array or an array of integers, got "1"'],
  ["too few offsets", { queryOffset: [1] }, RangeError, '"queryOffset" expected one number for all or one per batch (2), got 1'],
  ["an offset that is infinite", { queryOffset: [0, Infinity] }, RangeError, '"queryOffset" expected integers, got Infinity'],
  ["a negative softcap", { softcap: -1 }, RangeError, '"softcap" expected a number that is not negative, got -1'],
  ["an infinite softcap", { softcap: Infinity }, RangeError, '"softcap" expected a finite number, got Infinity'],
  ["a softcap that is a boolean", { softcap: true }, TypeError, '"softcap" expected a number, got true'],
  ["one slope for all heads", { alibiSlopes: 0.5 }, TypeError, '"alibiSlopes" expected a Float32Array or an array of numbers, got 0.5'],
  ["a slope per key head", { alibiSlopes: [0.5, 0.25] }, RangeError, '"alibiSlopes" expected one number per query head (4), got 2'],
  ["a slope of NaN", { alibiSlopes: [1, 1, NaN, 1] }, RangeError, '"alibiSlopes" expected finite numbers, got NaN'],
  ["a slope of -inf", { alibiSlopes: [1, 1, 1, -Infinity] }, RangeError, '"alibiSlopes" expected finite numbers, got -Infinity'],
  ["slopes that are strings", { alibiSlopes: ["1", "2", "3", "4"] }, RangeError, '"alibiSlopes" expected finite numbers, got "1"'],
  ["slopes that are bigints", { alibiSlopes: [1n, 2n, 3n, 4n] }, RangeError, '"alibiSlopes" expected finite numbers, got 1n'],
  ["a slope beyond f32", { alibiSlopes: [1, 1, 1, 1e39] }, RangeError, '"alibiSlopes" expected finite numbers, got 1e+39'],
  ["a sink of null", { sinks: [null, 1, 1, 1] }, RangeError, '"sinks" expected finite numbers or −Infinity, got null'],
  ["a sink of true", { sinks: [1, 1, 1, true] }, RangeError, '"sinks" expected finite numbers or −Infinity, got true'],
  ["sinks in f64", { sinks: new Float64Array(4) }, TypeError, '"sinks" expected a Float32Array or an array of numbers, got Float64Array'],
  ["a sink per key head", { sinks: new Float32Array(2) }, RangeError, '"sinks" expected one number per query head (4), got 2'],
  ["a sink of +inf", { sinks: [0, Infinity, 0, 0] }, RangeError, '"sinks" expected finite numbers or −Infinity, got Infinity'],
  ["a sink of NaN", { sinks: [0, NaN, 0, 0] }, RangeError, '"sinks" expected finite numbers or −Infinity, got NaN'],
  ["a length that is a string", { kvLengths: "5" }, TypeError, '"kvLengths" expected an integer, an Int32Array or an array of integers, got "5"'],
  ["one length for all that is not whole", { kvLengths: 1.5 }, RangeError, '"kvLengths" expected integers, got 1.5'],
  ["one length for all beyond the keys", { kvLengths: 6 }, RangeError, '"kvLengths" expected lengths from 0 to 5, got 6'],
  ["too many lengths", { kvLengths: [5, 5, 5] }, RangeError, '"kvLengths" expected one number for all or one per batch (2), got 3'],
  ["a length beyond the keys", { kvLengths: [5, 6] }, RangeError, '"kvLengths" expected lengths from 0 to 5, got 6'],
  ["a negative length", { kvLengths: [-1, 5] }, RangeError, '"kvLengths" expected lengths from 0 to 5, got -1'],
  ["half a length", { kvLengths: [1.5, 5] }, RangeError, '"kvLengths" expected integers, got 1.5'],
  ["lengths in an object", { kvLengths: { lengths: [5, 5] } }, TypeError, '"kvLengths" expected an integer, an Int32Array or an array of integers, got Object'],
  ["a length beyond the queries", { qLengths: [3, 4] }, RangeError, '"qLengths" expected lengths from 0 to 3, got 4'],
  ["too few lengths of queries", { qLengths: new Int32Array(1) }, RangeError, '"qLengths" expected one number for all or one per batch (2), got 1'],
  ["a bias that is a number", { bias: 1 }, TypeError, '"bias" expected a typed array or a tensor, got 1'],
  ["a bias in f64", { bias: new Float64Array(5) }, TypeError, '"bias" expected dtype f32, got f64'],
  ["a bias of another length", { bias: new Float32Array(4) }, RangeError, '"bias" expected a shape that broadcasts to [2, 4, 3, 5], got [4]'],
  ["a bias per key head", { bias: zeros(2, 1, 5) }, RangeError, '"bias" expected a shape that broadcasts to [2, 4, 3, 5], got [2, 1, 5]'],
  ["a bias of five dimensions", { bias: zeros(1, 2, 4, 3, 5) }, RangeError, '"bias" expected a shape that broadcasts to [2, 4, 3, 5], got [1, 2, 4, 3, 5]'],
  ["a mask of booleans", { mask: [true] }, TypeError, '"mask" expected a Uint8Array (not zero = keep) or a tensor of one, got [true]'],
  ["a mask of floats", { mask: new Float32Array(5) }, TypeError, '"mask" expected a Uint8Array (not zero = keep) or a tensor of one, got Float32Array'],
  ["a mask of another length", { mask: new Uint8Array(3) }, RangeError, '"mask" expected a shape that broadcasts to [2, 4, 3, 5], got [3]'],
  ["a function as block mask", { blockMask: () => true }, TypeError, '"blockMask" expected what createBlockMask returns, got a function'],
  [
    "a block mask of other lengths",
    { blockMask: createBlockMask(() => true, { queryLength: 3, keyLength: 4 }) },
    RangeError,
    '"blockMask" expected [2, 4, 3, 5] (or 1 for batch or heads), got [1, 1, 3, 4]',
  ],
  [
    "a block mask per key head",
    { blockMask: createBlockMask(() => true, { heads: 2, queryLength: 3, keyLength: 5 }) },
    RangeError,
    '"blockMask" expected [2, 4, 3, 5] (or 1 for batch or heads), got [1, 2, 3, 5]',
  ],
];

const OUTS: readonly BadInput[] = [
  ["an array", [0], TypeError, '"out" expected a typed array or a tensor, got [0]'],
  ["f64", new Float64Array(144), TypeError, '"out" expected dtype f32, f16 or bf16, got f64'],
  ["as many elements as q", new Float32Array(192), RangeError, '"out" expected 144 elements for shape [2, 4, 3, 6], got 192'],
  ["another order of dimensions", zeros(2, 3, 4, 6), RangeError, '"out" expected shape [2, 4, 3, 6], got [2, 3, 4, 6]'],
  ["fewer dimensions", zeros(8, 3, 6), RangeError, '"out" expected shape [2, 4, 3, 6], got [8, 3, 6]'],
  [
    "rows in one place",
    tensor(new Float32Array(144), [2, 4, 3, 6], { strides: [72, 18, 0, 1] }),
    RangeError,
    '"out" expected strides that give every element its own place, got [72, 18, 0, 1] for shape [2, 4, 3, 6]',
  ],
  ["the memory of q", tensor(q.data.subarray(48), [2, 4, 3, 6]), RangeError, '"out" overlaps "q"'],
];

describe("attention refuses", () => {
  const run = (operands: object, options?: unknown): unknown => {
    const given = { q, k, v, ...operands };
    return instance.attention(given.q, given.k, given.v, options as AttentionOptions & { returnLse: true });
  };

  test.each(OPERANDS)("%s", (_, operands, error, message) => expectThrown(() => run(operands), error, message));
  test.each(OPTIONS)("%s", (_, options, error, message) => expectThrown(() => run({}, options), error, message));
  test.each(OUTS)("as output %s", (_, out, error, message) => expectThrown(() => run({}, { out }), error, message));

  test("an option that it does not know, so that a misspelling is no silence", () => {
    const message = thrown(() => run({}, { casual: true })).message;
    expect(message).toMatch(/^"casual" is not an option here; expected one of .*causal.*returnLse/);
    expect(() => run({}, { casual: true })).toThrow(TypeError);
  });

  test("a returnLse that is no boolean", () => expectThrown(() => run({}, { returnLse: 1 }), TypeError, '"returnLse" expected true or false, got 1'));

  test("i8 without scales, and scales that do not fit", () => {
    const q = { data: new Int8Array(192), shape: [2, 4, 3, 8] };
    expectThrown(() => run({ q }), UnsupportedError, '"q" has dtype i8 without scales; expected f32, f64, f16, bf16, or i8 with scales');
    expectThrown(() => run({ q: { ...q, scales: [1] } }), TypeError, '"q" expected a Float32Array as its scales, got [1]');
    expectThrown(() => run({ q: { ...q, scales: new Float32Array(23) } }), RangeError, '"q" of shape [2, 4, 3, 8] expected 24 scales, got 23');
    expectThrown(() => run({ q: { ...q, scales: new Float32Array(24), strides: [96, 24, 8, 1] } }), TypeError, '"q" expected no strides beside scales');
    expectThrown(() => run({}, { bias: { ...q, shape: [2, 4, 3, 5], scales: new Float32Array(24) } }), TypeError, '"bias" expected dtype f32, got i8');
  });

  test("a scale or softcap that f32 cannot compute with", () => {
    expectThrown(() => run({}, { scale: 1e39 }), RangeError, '"scale" expected a finite number that f32 can hold, got 1e+39');
    expectThrown(() => run({}, { softcap: 1e39 }), RangeError, '"softcap" expected a finite number that f32 can hold, got 1e+39');
    expectThrown(() => run({}, { softcap: 1e-39 }), RangeError, `"softcap" expected 0 or at least ${2 ** -126}, got 1e-39`);
  });

  test("tensors in a GPU buffer", () => {
    const buffer = { size: 1024, usage: 128, mapState: "unmapped" };
    expectThrown(() => run({ q: { buffer, shape: [2, 4, 3, 8], dtype: "f32" } }), TypeError, '"q" is in a GPU buffer, but this call computes on the CPU');
    expectThrown(() => run({}, { mask: { buffer, shape: [3, 5], dtype: "u8" } }), TypeError, '"mask" is in a GPU buffer, but this call computes on the CPU');
    expectThrown(
      () => run({ k: { buffer, shape: [2, 2, 5, 80], dtype: "f32" } }),
      RangeError,
      '"k" expected an offset, a multiple of 4, from which 6400 bytes fit into the buffer of 1024, got 0',
    );
  });

  test("head dimensions that its scratch has no room for", () => {
    const large = 5000;
    const error = thrown(() => instance.attention(zeros(1, large), zeros(1, large), zeros(1, 8)));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error.message).toMatch(/^"q" expected a last dimension of at most \d+, got 5000$/);
    expect(thrown(() => instance.attention(zeros(1, 8), zeros(1, 8), zeros(1, large))).message).toMatch(
      /^"v" expected a last dimension of at most \d+, got 5000$/,
    );
  });

  test.each([
    ["k", 1],
    ["v", 2],
  ] as const)("to write over %s", (name, at) => {
    const operands = [q, k, v] as const;
    const shared = tensor(new Float32Array(1000), [1000]);
    const inside = { ...operands[at], data: shared.data.subarray(100) };
    expectThrown(() => run({ [name]: inside }, { out: tensor(shared.data.subarray(0, 144), [2, 4, 3, 6]) }), RangeError, `"out" overlaps "${name}"`);
  });

  test("to write over bias or mask", () => {
    const shared = new ArrayBuffer(4096);
    const out = new Float32Array(shared, 0, 144);
    expectThrown(() => run({}, { out, bias: new Float32Array(shared, 143 * 4, 5) }), RangeError, '"out" overlaps "bias"');
    expectThrown(() => run({}, { out, mask: new Uint8Array(shared, 575, 5) }), RangeError, '"out" overlaps "mask"');
    run({}, { out, bias: new Float32Array(shared, 144 * 4, 5), mask: new Uint8Array(shared, 600, 5) });
  });

  test("tensors that have been disposed", () => {
    for (const name of ["q", "k", "v"] as const) {
      const kept = instance.empty({ q, k, v }[name].shape);
      kept.dispose();
      expect(() => run({ [name]: kept })).toThrow(DisposedError);
    }
    const out = instance.empty([2, 4, 3, 6]);
    out.dispose();
    expect(() => run({}, { out })).toThrow(DisposedError);
  });

  test("and writes nothing then", () => {
    const out = new Float32Array(144).fill(7);
    const [outs, operands] = [OPTIONS.filter(([, options]) => options !== null && !Array.isArray(options)), OPERANDS];
    for (const [, options] of outs) expect(() => run({}, { ...(options as object), out })).toThrow();
    for (const [, given] of operands) expect(() => run(given, { out })).toThrow();
    expect(out.every((x) => x === 7)).toBe(true);
  });
});

describe("attentionScores refuses", () => {
  const run = (operands: object, options?: unknown): unknown => {
    const given = { q, k, ...operands };
    return instance.attentionScores(given.q, given.k, options as never);
  };

  test.each(OPERANDS.filter(([, operands]) => !("v" in operands)))("%s", (_, operands, error, message) => expectThrown(() => run(operands), error, message));
  test.each(OPTIONS)("%s", (_, options, error, message) => expectThrown(() => run({}, options), error, message));

  test("a stage of another name", () =>
    expectThrown(() => run({}, { stage: "scaled" }), RangeError, '"stage" expected "probabilities" | "raw" | "softcapped" | "masked", got "scaled"'));

  test.each(["out", "returnLse"])("%s, which is an option of attention alone", (name) => {
    expect(() => run({}, { [name]: true })).toThrow(new RegExp(`^"${name}" is not an option here; expected one of .*stage`));
  });
});

describe("attentionVarlen refuses", () => {
  // Sequences of 2, 0 and 3 queries, and of 1, 4 and 2 keys.
  const operands = { q: zeros(5, 4, 8), k: zeros(7, 2, 8), v: zeros(7, 2, 6) };
  const good = { cuSeqlensQ: [0, 2, 2, 5], cuSeqlensK: [0, 1, 5, 7] };
  const run = (given: object, options?: unknown): unknown => {
    const { q: packedQ, k: packedK, v: packedV } = { ...operands, ...given };
    return instance.attentionVarlen(packedQ, packedK, packedV, options as AttentionVarlenOptions);
  };

  test.each<[string, object, ErrorType, string]>([
    ["a q that is padded", { q: zeros(1, 5, 4, 8) }, RangeError, '"q" expected shape [total, heads, dim], got [1, 5, 4, 8]'],
    ["a k of two dimensions", { k: zeros(7, 8) }, RangeError, '"k" expected shape [total, heads, dim], got [7, 8]'],
    ["a v of two dimensions", { v: zeros(7, 8) }, RangeError, '"v" expected shape [total, heads, dim], got [7, 8]'],
    ["a k of another head dimension", { k: zeros(7, 2, 6) }, RangeError, '"k" expected last dimension 8 as in "q", got 6'],
    ["a v of another length", { v: zeros(6, 2, 6) }, RangeError, '"v" expected 7 rows as in "k", got 6'],
    ["a v of other heads", { v: zeros(7, 1, 6) }, RangeError, '"v" expected 2 heads as in "k", got 1'],
    ["heads that do not divide", { q: zeros(5, 3, 8) }, RangeError, '"k" expected a number of heads that divides the 3 of "q", got 2'],
    ["a head dimension of 0", { q: zeros(5, 4, 0), k: zeros(7, 2, 0) }, RangeError, '"q" expected a last dimension of at least 1, got 0'],
    ["a q in f64", { q: tensor(new Float64Array(160), [5, 4, 8]) }, TypeError, '"q" expected dtype f32, got f64; attention computes f32'],
  ])("%s", (_, given, error, message) => expectThrown(() => run(given, good), error, message));

  test.each<[string, object, ErrorType, string]>([
    ["starts that are a number", { cuSeqlensQ: 5 }, TypeError, '"cuSeqlensQ" expected an Int32Array or an array of integers, got 5'],
    ["starts that begin late", { cuSeqlensQ: [1, 2, 2, 5] }, RangeError, '"cuSeqlensQ" expected integers that rise from 0 to at most 5, got [1, 2, 2, 5]'],
    ["starts that end late", { cuSeqlensQ: [0, 2, 2, 6] }, RangeError, '"cuSeqlensQ" expected integers that rise from 0 to at most 5, got [0, 2, 2, 6]'],
    ["starts that fall", { cuSeqlensK: [0, 5, 1, 7] }, RangeError, '"cuSeqlensK" expected integers that rise from 0 to at most 7, got [0, 5, 1, 7]'],
    ["starts that are not whole", { cuSeqlensK: [0, 1.5, 5, 7] }, RangeError, '"cuSeqlensK" expected integers, got 1.5'],
    ["no starts", { cuSeqlensQ: [] }, RangeError, '"cuSeqlensQ" expected integers that rise from 0 to at most 5, got []'],
    [
      "starts that are many",
      { cuSeqlensQ: new Int32Array(100_000).fill(9, 8) },
      RangeError,
      '"cuSeqlensQ" expected integers that rise from 0 to at most 5, got [0, 0, 0, 0, 0, 0, 0, 0, … (100000)]',
    ],
    ["starts of another batch", { cuSeqlensK: [0, 7] }, RangeError, '"cuSeqlensK" expected 4 entries as "cuSeqlensQ", got 2'],
    ["keys that are not cut like queries", { cuSeqlensK: undefined }, RangeError, '"k" expected 5 rows as "q" without "cuSeqlensK", got 7'],
    ["offsets of another batch", { queryOffset: [1, 2] }, RangeError, '"queryOffset" expected one number for all or one per sequence (3), got 2'],
    ["half an offset", { queryOffset: 0.5 }, RangeError, '"queryOffset" expected integers, got 0.5'],
    ["an offset of null", { queryOffset: null }, TypeError, '"queryOffset" expected an integer, an Int32Array or an array of integers, got null'],
    ["an offset that is a string", { queryOffset: "123" }, TypeError, '"queryOffset" expected an integer, an Int32Array or an array of integers, got "123"'],
    ["a slope per key head", { alibiSlopes: [1, 2] }, RangeError, '"alibiSlopes" expected one number per query head (4), got 2'],
    ["a sink of NaN", { sinks: [0, 0, 0, NaN] }, RangeError, '"sinks" expected finite numbers or −Infinity, got NaN'],
    ["a negative window", { windowSize: [0, -1] }, RangeError, '"windowSize" expected non-negative integers or Infinity, got [0, -1]'],
    ["a causal of another name", { causal: "x" }, RangeError, '"causal" expected true, false, "lower-right" or "upper-left", got "x"'],
    ["a returnLse that is no boolean", { returnLse: 1 }, TypeError, '"returnLse" expected true or false, got 1'],
    ["an out of another shape", { out: zeros(5, 4, 8) }, RangeError, '"out" expected shape [5, 4, 6], got [5, 4, 8]'],
  ])("%s", (_, options, error, message) => expectThrown(() => run({}, { ...good, ...options }), error, message));

  test("to write over what it reads", () => {
    const shared = new Float32Array(200);
    const out = shared.subarray(0, 120);
    expectThrown(() => run({ q: tensor(shared.subarray(40), [5, 4, 8]) }, { ...good, out }), RangeError, '"out" overlaps "q"');
  });

  test.each(["mask", "bias", "blockMask", "kvLengths", "layout"])("%s, which speaks of a padded batch", (name) => {
    expect(() => run({}, { ...good, [name]: [] })).toThrow(new RegExp(`^"${name}" is not an option here`));
  });

  test("to be called without options", () => {
    expect(thrown(() => run({})).message).toMatch(/^"(options|cuSeqlensQ)" expected/);
    expect(thrown(() => run({}, {})).message).toBe('"cuSeqlensQ" expected an Int32Array or an array of integers, got undefined');
  });
});

describe("mergeStates refuses", () => {
  const state = (shape: number[], lse: number[]): PartialAttention => ({ out: zeros(...shape), lse: zeros(...lse) });
  const good = state([2, 3, 4], [2, 3]);

  test.each<[string, unknown, ErrorType, string]>([
    ["a state alone", good, TypeError, '"parts" expected an array of { out, lse }, got Object'],
    ["nothing", [], RangeError, '"parts" expected at least one state, got none'],
    ["a part that is null", [good, null], TypeError, '"parts[1]" expected { out, lse }, got null'],
    ["a part without log-sum-exp", [{ out: good.out }], TypeError, '"parts[0].lse" expected a typed array or a tensor, got undefined'],
    ["a part in f64", [{ ...good, out: tensor(new Float64Array(24), [2, 3, 4]) }], TypeError, '"parts[0].out" expected dtype f32, got f64'],
    ["an output of one dimension", [state([3], [])], RangeError, '"parts[0].out" expected 2 to 4 dimensions, got shape [3]'],
    ["outputs of two shapes", [good, state([2, 4, 3], [2, 4])], RangeError, '"parts[1].out" expected shape [2, 3, 4], got [2, 4, 3]'],
    ["a log-sum-exp of another shape", [good, state([2, 3, 4], [3, 2])], RangeError, '"parts[1].lse" expected shape [2, 3], got [3, 2]'],
  ])("%s", (_, parts, error, message) => expectThrown(() => mergeStates(parts as PartialAttention[]), error, message));

  test("another layout, and options that it does not know", () => {
    expectThrown(() => mergeStates([good], { layout: "hbld" as "bhld" }), RangeError, '"layout" expected "bhld" | "blhd", got "hbld"');
    expect(() => mergeStates([good], { sinks: [1] } as object)).toThrow(/^"sinks" is not an option here/);
  });
});

describe("createBlockMask refuses", () => {
  test.each<[string, unknown, unknown, ErrorType, string]>([
    ["no function", undefined, { queryLength: 1, keyLength: 1 }, TypeError, '"maskMod" expected a function, got undefined'],
    ["half a length", () => true, { queryLength: 1.5, keyLength: 1 }, RangeError, '"queryLength" expected a non-negative integer, got 1.5'],
    ["a negative length", () => true, { queryLength: 1, keyLength: -1 }, RangeError, '"keyLength" expected a non-negative integer, got -1'],
    ["heads that are a string", () => true, { queryLength: 1, keyLength: 1, heads: "2" }, RangeError, '"heads" expected a non-negative integer, got "2"'],
    ["a batch of NaN", () => true, { queryLength: 1, keyLength: 1, batch: NaN }, RangeError, '"batch" expected a non-negative integer, got NaN'],
  ])("%s", (_, maskMod, options, error, message) => expectThrown(() => createBlockMask(maskMod as () => boolean, options as never), error, message));

  test("a length that is missing", () => {
    expect(() => createBlockMask(() => true, { queryLength: 1 } as never)).toThrow(/^"keyLength" expected a non-negative integer, got undefined$/);
    expect(() => createBlockMask(() => true, undefined as never)).toThrow(/^"(options|queryLength)" expected/);
  });

  test("options that it does not know, so that a misspelling is no silence", () => {
    expect(() => createBlockMask(() => true, { queryLength: 1, keyLength: 1, head: 2 } as never)).toThrow(/^"head" is not an option here/);
  });

  test("not: sizes that are left out as undefined", () => {
    expect(createBlockMask(() => true, { queryLength: 1, keyLength: 1, batch: undefined, heads: undefined })).toMatchObject({ batch: 1, heads: 1 });
  });
});

describe("alibiSlopes refuses", () => {
  test.each<[string, unknown[], ErrorType, string]>([
    ["no heads", [0], RangeError, '"heads" expected a positive integer, got 0'],
    ["half a head", [1.5], RangeError, '"heads" expected a positive integer, got 1.5'],
    ["heads that are a string", ["8"], RangeError, '"heads" expected a positive integer, got "8"'],
    ["a maxBias of 0", [8, 0], RangeError, '"maxBias" expected a positive number, got 0'],
    ["a maxBias of NaN", [8, NaN], RangeError, '"maxBias" expected a positive number, got NaN'],
  ])("%s", (_, args, error, message) => expectThrown(() => alibiSlopes(...(args as [number])), error, message));
});

describe("the plain functions", () => {
  test("are those of the instance", () => {
    const data = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));
    const x = tensor(data, [6, 4]);
    expect(scaledDotProductAttention).toBe(attention);
    expect(attention(x, x, x, { causal: true })).toEqual(instance.attention(x, x, x, { causal: true }));
    expect(attention(x, x, x, { returnLse: true })).toEqual(instance.attention(x, x, x, { returnLse: true }));
    expect(attentionScores(x, x)).toEqual(instance.attentionScores(x, x));
    const packed = tensor(data, [6, 2, 2]);
    const options = { cuSeqlensQ: [0, 2, 6] };
    expect(attentionVarlen(packed, packed, packed, options)).toEqual(instance.attentionVarlen(packed, packed, packed, options));
  });

  test("write behind what they read, in one array", () => {
    const all = new Float32Array(600).fill(1);
    const [keys, out] = [{ data: all, shape: [5, 8] }, all.subarray(40, 40 + 3 * 8)];
    expect(attention(zeros(3, 8), keys, keys, { out }).data).toEqual(new Float32Array(24).fill(1));
  });

  test("take one length or offset for all batches", () => {
    const each = { kvLengths: [4, 4], qLengths: [2, 2], queryOffset: [1, 1], causal: true };
    const all = { kvLengths: 4, qLengths: 2, queryOffset: 1, causal: true };
    expect(attention(q, k, v, all)).toEqual(attention(q, k, v, each));
    expect(attention(q, k, v, { kvLengths: 0 }).data.every((x) => x === 0)).toBe(true);
  });

  test("read their inputs and leave them as they are", () => {
    const data = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));
    const before = data.slice();
    const x = Object.freeze({ data, shape: Object.freeze([6, 4]), dtype: "f32" as const });
    attention(x, x, x, Object.freeze({ windowSize: Object.freeze([1, 1] as const), sinks: Object.freeze([1]), kvLengths: Object.freeze([5]) }));
    expect(data).toEqual(before);
  });
});
