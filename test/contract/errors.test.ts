import { afterEach, describe, expect, test } from "vitest";
import {
  BackendError,
  DisposedError,
  OnlineSoftmax,
  UnsupportedError,
  convert,
  attention,
  attentionVarlen,
  createEngine,
  empty,
  logSoftmax,
  logSumExp,
  quantize,
  softmax,
  tensor,
  type SoftmaxOptions,
  type TensorLike,
} from "../../src/index.ts";
import { type BadInput, expectThrown, thrown } from "../support/thrown.ts";

// Bad input: the type of error, and the message in full, which starts with the quoted name of the argument. What TypeScript
// would refuse comes from JavaScript, so most of this is cast.

const f32 = (...values: number[]): Float32Array => Float32Array.from(values);
const x23 = tensor(new Float32Array(6), [2, 3]);

const TENSORS: readonly BadInput[] = [
  ["undefined", undefined, TypeError, '"x" expected a typed array or a tensor, got undefined'],
  ["null", null, TypeError, '"x" expected a typed array or a tensor, got null'],
  ["a number", 5, TypeError, '"x" expected a typed array or a tensor, got 5'],
  ["a string", "abc", TypeError, '"x" expected a typed array or a tensor, got "abc"'],
  ["an array of texts", ["1"], TypeError, '"x[0]" expected a number, got "1"'],
  ["rows of other lengths", [[1, 2], [3]], TypeError, '"x[1]" expected 2 elements like its neighbours, got [3]'],
  [
    "a number among rows",
    [
      [[1], [2]],
      [[3], 4],
    ],
    TypeError,
    '"x[1][1]" expected 1 elements like its neighbours, got 4',
  ],
  ["a hole", [1, , 3], TypeError, '"x[1]" expected a number, got undefined'], // eslint-disable-line no-sparse-arrays -- that is the case
  ["rows that are typed arrays", [f32(1, 2), f32(3, 4)], TypeError, '"x[0]" expected a number, got Float32Array'],
  ["an object without data", {}, TypeError, '"x" expected a typed array or a tensor with "data" and "shape", got Object'],
  ["an array as data", { data: [1], shape: [1] }, TypeError, '"x" expected a typed array or a tensor with "data" and "shape", got Object'],
  ["an ArrayBuffer", new ArrayBuffer(8), TypeError, '"x" expected a typed array or a tensor with "data" and "shape", got ArrayBuffer'],
  ["integers", new Int32Array(3), TypeError, '"x" expected float data (Float32Array, Float64Array), got Int32Array'],
  ["a DataView", new DataView(new ArrayBuffer(8)), TypeError, '"x" expected float data (Float32Array, Float64Array), got DataView'],
  ["16 bits of no known dtype", new Uint16Array(3), TypeError, '"x" is a Uint16Array: say dtype "f16" or "bf16"'],
  ["another dtype than the data's", { data: f32(1), shape: [1], dtype: "f64" }, TypeError, '"x" expected dtype "f32" for a Float32Array, got "f64"'],
  ["i8", new Int8Array(1), UnsupportedError, '"x" has dtype i8 without scales; expected f32, f64, f16, bf16, or i8 with scales'],
  ["no shape", { data: f32(1) }, TypeError, '"x" expected a shape (an array of sizes), got undefined'],
  ["a text as shape", { data: f32(1), shape: "1" }, TypeError, '"x" expected a shape (an array of sizes), got "1"'],
  ["too few elements", { data: f32(1, 2, 3), shape: [2, 2] }, RangeError, '"x" of shape [2, 2] needs 4 elements, but its data has 3'],
  ["a negative size", { data: f32(1), shape: [-1] }, RangeError, '"x" expected sizes that are non-negative integers, got [-1]'],
  ["half a size", { data: f32(1), shape: [2, 0.5] }, RangeError, '"x" expected sizes that are non-negative integers, got [2, 0.5]'],
  ["a size that is no number", { data: f32(1), shape: ["1"] }, RangeError, '"x" expected sizes that are non-negative integers, got ["1"]'],
  ["nine dimensions", { data: f32(1), shape: new Array(9).fill(1) }, RangeError, '"x" expected at most 8 dimensions, got 9'],
  ["too few strides", { data: f32(1), shape: [1, 1], strides: [1] }, RangeError, '"x" expected one stride per dimension (2), got [1]'],
  ["strides that are no array", { data: f32(1), shape: [1], strides: 1 }, RangeError, '"x" expected one stride per dimension (1), got 1'],
  ["negative strides", { data: f32(1, 2), shape: [2], strides: [-1] }, RangeError, '"x" expected strides that are non-negative integers, got -1'],
  ["half a stride", { data: f32(1, 2), shape: [2], strides: [0.5] }, RangeError, '"x" expected strides that are non-negative integers, got 0.5'],
  [
    "strides that reach too far",
    { data: f32(1, 2, 3, 4), shape: [2, 2], strides: [3, 1] },
    RangeError,
    '"x" of shape [2, 2] with strides [3, 1] reaches element 4, but its data has 4',
  ],
];

describe.each([
  ["softmax", softmax],
  ["logSoftmax", logSoftmax],
  ["logSumExp", logSumExp],
] as const)("%s refuses", (name, operation) => {
  const run = (input: unknown, options?: unknown): unknown => operation(input as TensorLike, options as SoftmaxOptions);

  test.each(TENSORS)("%s as input", (_, value, error, message) => expectThrown(() => run(value), error, message));

  const OPTIONS: readonly BadInput[] = [
    ["options that are null", null, TypeError, '"options" expected an object, got null'],
    ["options that are a number", 1, TypeError, '"options" expected an object, got 1'],
    ["options that are an array", [-1], TypeError, '"options" expected an object, got [-1]'],
    ["an axis beyond the last", { axis: 2 }, RangeError, '"axis" expected an integer from -2 to 1 for 2 dimensions, got 2'],
    ["an axis before the first", { axis: -3 }, RangeError, '"axis" expected an integer from -2 to 1 for 2 dimensions, got -3'],
    ["half an axis", { axis: 0.5 }, RangeError, '"axis" expected an integer from -2 to 1 for 2 dimensions, got 0.5'],
    ["an axis of NaN", { axis: NaN }, RangeError, '"axis" expected an integer from -2 to 1 for 2 dimensions, got NaN'],
    ["an axis of null", { axis: null }, TypeError, '"axis" expected an integer, got null'],
    ["an axis that is a string", { axis: "0" }, TypeError, '"axis" expected an integer, got "0"'],
    ["a scale of NaN", { scale: NaN }, RangeError, '"scale" expected a finite number, got NaN'],
    ["an infinite scale", { scale: Infinity }, RangeError, '"scale" expected a finite number, got Infinity'],
    ["a scale beyond f32", { scale: 1e39 }, RangeError, '"scale" expected a finite number that f32 can hold, got 1e+39'],
    ["a scale that is a string", { scale: "2" }, TypeError, '"scale" expected a number, got "2"'],
    ["a bias that is a number", { bias: 1 }, TypeError, '"bias" expected a typed array or a tensor, got 1'],
    ["a bias of another dtype", { bias: new Float64Array(3) }, TypeError, '"bias" expected dtype f32 as "x", got f64'],
    ["a bias of integers", { bias: new Int32Array(3) }, TypeError, '"bias" expected float data (Float32Array, Float64Array), got Int32Array'],
    ["a bias of another size", { bias: new Float32Array(2) }, RangeError, '"bias" expected a shape that broadcasts to [2, 3], got [2]'],
    [
      "a bias that is left-aligned",
      { bias: tensor(new Float32Array(2), [2, 1, 1]) },
      RangeError,
      '"bias" expected a shape that broadcasts to [2, 3], got [2, 1, 1]',
    ],
    ["a mask of floats", { mask: new Float32Array(3) }, TypeError, '"mask" expected a Uint8Array (not zero = keep) or a tensor of one, got Float32Array'],
    [
      "a mask of booleans",
      { mask: [true, false, true] },
      TypeError,
      '"mask" expected a Uint8Array (not zero = keep) or a tensor of one, got [true, false, true]',
    ],
    ["a mask of null", { mask: null }, TypeError, '"mask" expected a Uint8Array (not zero = keep) or a tensor of one, got null'],
    ["a mask of another size", { mask: new Uint8Array(2) }, RangeError, '"mask" expected a shape that broadcasts to [2, 3], got [2]'],
    ["a mask without a shape", { mask: { data: new Uint8Array(3) } }, TypeError, '"mask" expected a shape (an array of sizes), got undefined'],
    [
      "a mask that is too short",
      { mask: { data: new Uint8Array(3), shape: [2, 3] } },
      RangeError,
      '"mask" of shape [2, 3] needs 6 elements, but its data has 3',
    ],
    ["an out of another dtype", { out: new Float64Array(6) }, TypeError, '"out" expected dtype f32, f16 or bf16, got f64'],
    ["an out that is an array", { out: [0, 0] }, TypeError, '"out" expected a typed array or a tensor, got [0, 0]'],
  ];

  test.each(OPTIONS)("%s", (_, options, error, message) => expectThrown(() => run(x23, options), error, message));

  test("an unknown option", () => {
    const known = {
      softmax: "axis, algorithm, scale, bias, mask, safe, out",
      logSoftmax: "axis, scale, bias, mask, safe, out",
      logSumExp: "axis, keepDims, scale, bias, mask, out",
    };
    expectThrown(() => run(x23, { axes: 1 }), TypeError, `"axes" is not an option here; expected one of ${known[name]}`);
  });

  test("an out of the wrong size or shape", () => {
    const [shape, count] = name === "logSumExp" ? ["[2]", 2] : ["[2, 3]", 6];
    expectThrown(() => run(x23, { out: new Float32Array(7) }), RangeError, `"out" expected ${count} elements for shape ${shape}, got 7`);
    expectThrown(() => run(x23, { out: tensor(new Float32Array(6), [3, 2]) }), RangeError, `"out" expected shape ${shape}, got [3, 2]`);
  });

  test("a tensor after dispose, as input and as out", () => {
    const kept = empty([2, 3]);
    kept.dispose();
    expect(thrown(() => run(kept))).toBeInstanceOf(DisposedError);
    expect(thrown(() => run(x23, { out: kept }))).toBeInstanceOf(DisposedError);
    expect(thrown(() => run(kept)).message).toContain("disposed");
  });
});

describe("options of one operation", () => {
  const run = (operation: unknown, options: object): unknown => (operation as typeof softmax)(x23, options);

  test.each([
    [softmax, { algorithm: "fast" }, RangeError, '"algorithm" expected "auto" | "standard" | "safe" | "online", got "fast"'],
    [softmax, { algorithm: 1 }, TypeError, '"algorithm" expected "auto" | "standard" | "safe" | "online", got 1'],
    [softmax, { safe: 1 }, TypeError, '"safe" expected true or false, got 1'],
    [softmax, { axis: [0] }, TypeError, '"axis" expected an integer, got [0]'],
    [softmax, { keepDims: true }, TypeError, '"keepDims" is not an option here; expected one of axis, algorithm, scale, bias, mask, safe, out'],
    [logSoftmax, { safe: "yes" }, TypeError, '"safe" expected true or false, got "yes"'],
    [logSoftmax, { algorithm: "safe" }, TypeError, '"algorithm" is not an option here; expected one of axis, scale, bias, mask, safe, out'],
    [logSumExp, { keepDims: 1 }, TypeError, '"keepDims" expected true or false, got 1'],
    [logSumExp, { safe: true }, TypeError, '"safe" is not an option here; expected one of axis, keepDims, scale, bias, mask, out'],
    [logSumExp, { axis: [0, 0] }, RangeError, '"axis" expected distinct dimensions, got [0, 0]'],
    [logSumExp, { axis: [1, -1] }, RangeError, '"axis" expected distinct dimensions, got [1, 1]'],
    [logSumExp, { axis: new Array(20).fill(0) }, RangeError, '"axis" expected distinct dimensions, got [0, 0, 0, 0, 0, 0, 0, 0, … (20)]'],
    [logSumExp, { axis: [0, 2] }, RangeError, '"axis" expected an integer from -2 to 1 for 2 dimensions, got 2'],
    [logSumExp, { axis: [0, "1"] }, TypeError, '"axis" expected an integer, got "1"'],
  ] as const)("%o %o", (operation, options, error, message) => expectThrown(() => run(operation, options), error, message));
});

describe("OnlineSoftmax", () => {
  const two = (): OnlineSoftmax => new OnlineSoftmax(2);
  const cast = (value: unknown): never => value as never;

  test.each([
    ["rows of 0", () => new OnlineSoftmax(0), RangeError, '"rows" expected a positive integer, got 0'],
    ["negative rows", () => new OnlineSoftmax(-1), RangeError, '"rows" expected a positive integer, got -1'],
    ["half a row", () => new OnlineSoftmax(0.5), RangeError, '"rows" expected a positive integer, got 0.5'],
    ["rows of NaN", () => new OnlineSoftmax(NaN), RangeError, '"rows" expected a positive integer, got NaN'],
    ["rows that are a string", () => new OnlineSoftmax(cast("2")), TypeError, '"rows" expected an integer, got "2"'],
    ["a push of other rows", () => two().push(tensor(new Float32Array(3), [3, 1])), RangeError, '"block" expected shape [2, n], got [3, 1]'],
    ["a push of one dimension", () => two().push(new Float32Array(2)), RangeError, '"block" expected shape [2, n], got [2]'],
    [
      "a push of three dimensions",
      () => new OnlineSoftmax().push(tensor(new Float32Array(2), [1, 1, 2])),
      RangeError,
      '"block" expected shape [1, n] or [n], got [1, 1, 2]',
    ],
    ["a push of f64", () => new OnlineSoftmax().push(new Float64Array(2)), TypeError, '"block" expected dtype f32, got f64'],
    ["a push of numbers", () => new OnlineSoftmax().push(cast(1)), TypeError, '"block" expected a typed array or a tensor, got 1'],
    ["a merge with something else", () => two().merge(cast({})), TypeError, '"other" expected an OnlineSoftmax, got Object'],
    ["a merge of other rows", () => two().merge(new OnlineSoftmax(3)), RangeError, '"other" expected 2 rows, got 3'],
    ["normalizing other rows", () => two().normalize(new Float32Array(2)), RangeError, '"block" expected shape [2, n], got [2]'],
    ["an unknown option", () => two().normalize(x23, cast({ axis: 0 })), TypeError, '"axis" is not an option here; expected one of out, safe'],
    ["safe that is no boolean", () => two().normalize(x23, { safe: cast(0) }), TypeError, '"safe" expected true or false, got 0'],
    ["an out of another size", () => two().normalize(x23, { out: new Float32Array(5) }), RangeError, '"out" expected 6 elements for shape [2, 3], got 5'],
    ["an out of another dtype", () => two().normalize(x23, { out: new Float64Array(6) }), TypeError, '"out" expected dtype f32, f16 or bf16, got f64'],
  ] as const)("refuses %s", (_, run, error, message) => expectThrown(run, error, message));

  test("is unchanged by a push or merge that throws", () => {
    const state = two().push(tensor(f32(1, 2, 3, 4), [2, 2]));
    const before = [state.max, state.sum];
    thrown(() => state.push(new Float32Array(3)));
    thrown(() => state.merge(new OnlineSoftmax(1)));
    expect([state.max, state.sum]).toEqual(before);
  });
});

describe("tensor and empty", () => {
  const cast = (value: unknown): never => value as never;

  test.each([
    ["undefined", () => tensor(cast(undefined)), TypeError, '"data" expected a typed array, got undefined'],
    ["null", () => tensor(cast(null), [2]), TypeError, '"data" expected a typed array, got null'],
    ["a tensor", () => tensor(cast(x23), [6]), TypeError, '"data" expected a typed array, got Object'],
    ["an array of numbers", () => tensor(cast([1, 2, 3]), [3]), TypeError, '"data" expected a typed array, got [1, 2, 3]'],
    ["a shape of null", () => tensor(f32(1), cast(null)), TypeError, '"shape" expected a shape (an array of sizes), got null'],
    ["half a size", () => tensor(f32(1), [0.5]), RangeError, '"shape" expected sizes that are non-negative integers, got [0.5]'],
    ["too few strides", () => tensor(f32(1), [1, 1], { strides: [1] }), RangeError, '"strides" expected one stride per dimension (2), got [1]'],
    ["negative strides", () => tensor(f32(1, 2), [2], { strides: [-1] }), RangeError, '"strides" expected strides that are non-negative integers, got -1'],
    ["options of null", () => tensor(f32(1), [1], cast(null)), TypeError, '"options" expected an object, got null'],
    ["a shape of other size", () => tensor(new Float32Array(6), [2, 2]), RangeError, '"shape" [2, 2] has 4 elements, but "data" has 6'],
    ["a shape that is too large", () => tensor(new Float32Array(6), [7]), RangeError, '"shape" [7] has 7 elements, but "data" has 6'],
    [
      "strides that reach too far",
      () => tensor(new Float32Array(6), [7], { strides: [1] }),
      RangeError,
      '"shape" [7] with strides [1] reaches element 6, but "data" has 6',
    ],
    ["16 bits without a dtype", () => tensor(new Uint16Array(1)), TypeError, '"data" is a Uint16Array: say dtype "f16" or "bf16"'],
    ["another dtype", () => tensor(new Float32Array(1), [1], { dtype: cast("f16") }), TypeError, '"data" expected dtype "f32" for a Float32Array, got "f16"'],
    ["a size instead of a shape", () => empty(cast(3)), TypeError, '"shape" expected a shape (an array of sizes), got 3'],
    ["a negative size", () => empty([-3]), RangeError, '"shape" expected sizes that are non-negative integers, got [-3]'],
    [
      "a dtype it does not keep",
      () => empty([3], { dtype: cast("i32") }),
      RangeError,
      '"dtype" expected "f32" | "f64" | "f16" | "bf16" | "i8" | "u8", got "i32"',
    ],
    ["a dtype that is no string", () => empty([3], { dtype: cast(32) }), TypeError, '"dtype" expected "f32" | "f64" | "f16" | "bf16" | "i8" | "u8", got 32'],
    ["a conversion to nothing", () => convert(f32(1), cast(undefined)), TypeError, '"dtype" expected "f32" | "f16" | "bf16", got undefined'],
    ["a conversion to i8", () => convert(f32(1), cast("i8")), RangeError, '"dtype" expected "f32" | "f16" | "bf16", got "i8"'],
    ["a conversion of f64", () => convert(new Float64Array(1), "f16"), TypeError, '"x" expected dtype f32, got f64'],
    ["8 bits of a scalar", () => quantize({ data: f32(1), shape: [] }), RangeError, '"x" expected at least one dimension, got a scalar'],
    ["8 bits of NaN", () => quantize(tensor(f32(1, 2, NaN, 4), [2, 2])), RangeError, '"x" expected finite numbers, but row 1 has NaN or infinity'],
  ] as const)("refuse %s", (_, run, error, message) => expectThrown(run, error, message));

  test("tensor refuses an unknown option", () => {
    const error = thrown(() => tensor(new Float32Array(1), [1], cast({ stride: [1] })));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^"stride" is not an option here/);
  });

  test("empty refuses an unknown option", () => {
    const error = thrown(() => empty([1], cast({ type: "f64" })));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toMatch(/^"type" is not an option here/);
  });

  test("empty beyond all memory is a BackendError", () => {
    expect(thrown(() => empty([2 ** 31]))).toBeInstanceOf(BackendError);
    expect(thrown(() => empty([2 ** 52]))).toBeInstanceOf(BackendError);
  });

  test("errors have names", () => {
    expect([new BackendError(""), new DisposedError(""), new UnsupportedError("")].map(String)).toEqual(["BackendError", "DisposedError", "UnsupportedError"]);
  });
});

describe("messages show", () => {
  const messageFor = (value: unknown): string => thrown(() => softmax(value as TensorLike)).message;

  test("the beginning of a long array, and how long it is", () => {
    const long = Array.from({ length: 1_000_000 }, (_, i) => i);
    expect(thrown(() => tensor(long as never)).message).toMatch(/got \[0, 1, 2, 3, 4, 5, 6, 7, … \(1000000\)\]$/);
  });

  test("two levels of an array, which may contain itself", () => {
    const cyclic: unknown[] = [];
    cyclic.push(cyclic);
    expect(messageFor(cyclic)).toBe('"x" expected at most 8 dimensions, got 9');
    expect(thrown(() => tensor(cyclic as never)).message).toMatch(/got \[\[\[…\]\]\]$/);
  });

  test("the beginning of a long text", () => {
    expect(thrown(() => softmax(x23, { algorithm: "x".repeat(1_000_000) as "safe" })).message).toMatch(/got "x{60}…"$/);
  });

  test("bigints as such", () => {
    expect(messageFor(6n)).toBe('"x" expected a typed array or a tensor, got 6n');
  });
});

describe("a property that all objects have, as some libraries give them", () => {
  afterEach(() => {
    delete (Object.prototype as { extra?: unknown }).extra;
  });

  test("is no option, no tensor and no argument", async () => {
    const engine = await createEngine({ device: "wasm", threads: 1 });
    Object.defineProperty(Object.prototype, "extra", { value: 1, enumerable: true, configurable: true, writable: true });
    const expected = softmax(x23).data;
    expect(softmax(x23, { axis: 1 }).data).toEqual(expected);
    expect(attention(x23, x23, x23, { scale: 1, returnLse: true }).out.shape).toEqual([2, 3]);
    expect((await engine.softmax(x23, { axis: 1, signal: new AbortController().signal })).data).toEqual(expected);
    expect(engine.explain("softmax", { x: [2, 3] }, { place: "host" }).device).toBe("wasm");
    expectThrown(
      () => softmax(x23, { axes: 1 } as never),
      TypeError,
      '"axes" is not an option here; expected one of axis, algorithm, scale, bias, mask, safe, out',
    );
    expect(() => softmax(x23, { extra: 1 } as never)).toThrow('"extra" is not an option here');
    engine.dispose();
  });
});

test.each([
  ["softmax", { dim: 0 }, "use axis"],
  ["softmax", { temperature: 2 }, "use scale (1 / temperature)"],
  ["softmax", { attn_mask: 0 }, "use mask (nonzero = attend) or bias (added)"],
  ["logSumExp", { keepdims: true }, "use keepDims"],
  ["logSumExp", { keepdim: true }, "use keepDims"],
  ["attention", { is_causal: true }, 'use causal ("upper-left" as in PyTorch)'],
  ["attention", { isCausal: true }, 'use causal ("upper-left" as in PyTorch)'],
  ["attention", { key_padding_mask: 0 }, "use mask (inverted: nonzero = attend) or kvLengths"],
  ["attention", { window_size: 1 }, "use windowSize"],
  ["attention", { logitsSoftCap: 1 }, "use softcap"],
  ["attention", { dropout_p: 0 }, "use nothing, there is no dropout"],
  ["attention", { enable_gqa: true }, "use nothing, grouped queries follow from the shapes"],
  ["attentionVarlen", { cu_seqlens_q: [] }, "use cuSeqlensQ"],
] as const)("%s says the name here of %o", (op, options, hint) => {
  const run = { softmax, logSumExp, attention, attentionVarlen }[op] as unknown as (...args: unknown[]) => unknown;
  const args = op.startsWith("attention") ? [x23, x23, x23, options] : [x23, options];
  expect(thrown(() => run(...args)).message).toContain(`"${Object.keys(options)[0] ?? ""}" is not an option here: ${hint}; expected one of `);
});

test("a name from elsewhere has no hint where there is no such option", () => {
  expect(thrown(() => attention(x23, x23, x23, { dim: 0 } as never)).message).toMatch(/^"dim" is not an option here; expected one of /);
});
