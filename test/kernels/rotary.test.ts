import { describe, expect, test } from "vitest";
import { UnsupportedError, applyRotary, convert, createEngine, tensor, type RotaryOptions, type RotaryScaling, type TensorLike } from "../../src/index.ts";
import { rotary } from "../reference/rotary.ts";
import { numbers } from "../support/numbers.ts";
import { type ErrorType, expectThrown } from "../support/thrown.ts";
import { expectClose, expectSameBits } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

const SCALINGS: readonly (readonly [name: string, scaling: RotaryScaling | undefined])[] = [
  ["no scaling", undefined],
  ["linear", { type: "linear", factor: 4 }],
  ["dynamic, within the original length", { type: "dynamic", factor: 2, originalLength: 8192 }],
  ["dynamic, beyond it", { type: "dynamic", factor: 2, originalLength: 64 }],
  ["llama3", { type: "llama3", factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalLength: 256 }],
  ["yarn", { type: "yarn", factor: 4, originalLength: 512, betaFast: 32, betaSlow: 1, attentionFactor: 1.1 }],
];

/** Two products and a sum of f32 cosines: three roundings of numbers no larger than the pair, times the attention factor. */
const TOLERANCE = { relative: 0, absolute: 12 * 1.2 * 3 * 2 ** -24 };

describeVariants("rotary embedding", (instance) => {
  const apply = (x: TensorLike, options?: RotaryOptions) => instance.applyRotary(x, options);
  const values = numbers("normal", 2 * 3 * 5 * 24);
  const positions = [0, 1, 7, 100, 2047];

  describe.each(SCALINGS)("%s", (_, scaling) => {
    test.each([
      [24, false],
      [24, true],
      [10, false],
      [10, true],
      [2, false],
    ])("%i dimensions, interleaved: %s, against float64", (rotaryDim, interleaved) => {
      const options = { rotaryDim, interleaved, base: 500, ...(scaling && { scaling }) };
      const expected = [0, 1, 2, 3, 4, 5].flatMap((h) => [
        ...rotary(values.subarray(h * 120, (h + 1) * 120), 24, positions, {
          rotaryDim,
          interleaved,
          base: 500,
          ...(scaling && { scaling: { ...scaling } }),
        }),
      ]);
      const x = tensor(values, [2, 3, 5, 24]);
      expectClose(apply(x, { ...options, positions }).data, expected, TOLERANCE);
      // The same numbers, heads behind length; then in place.
      const across = { data: values, shape: [2, 5, 3, 24], strides: [360, 24, 120, 1] };
      const moved = apply(across, { ...options, positions, layout: "blhd" });
      expectSameBits(convert({ data: moved.data, shape: [2, 3, 5, 24], strides: [360, 24, 72, 1] }, "f32").data, apply(x, { ...options, positions }).data);
      const own = tensor(values.slice(), [2, 3, 5, 24]);
      expect(apply(own, { ...options, positions, out: own })).toBe(own);
      expectSameBits(own.data, apply(x, { ...options, positions }).data);
    });
  });

  test("positions: a start, and some for each batch entry", () => {
    const x = tensor(values, [2, 3, 5, 24]);
    expectSameBits(apply(x, { positions: 3 }).data, apply(x, { positions: [3, 4, 5, 6, 7] }).data);
    expectSameBits(apply(x).data, apply(x, { positions: 0 }).data);
    const both = apply(x, { positions: [3, 4, 5, 6, 7, 0, 1, 2, 3, 4] }).data;
    expectSameBits(both.subarray(0, 360), apply(x, { positions: 3 }).data.subarray(0, 360));
    expectSameBits(both.subarray(360), apply(x).data.subarray(360));
  });

  test("position 0 changes nothing, and narrow numbers are those of f32", () => {
    const x = tensor(values, [30, 24]);
    expectSameBits(apply(x, { positions: new Int32Array(30) }).data, values);
    const half = convert(x, "bf16");
    expectSameBits(apply(half).data, apply(convert(half, "f32")).data);
  });

  test("more rows than a stage", () => {
    const many = numbers("normal", 4 * 2000 * 16);
    const result = apply(tensor(many, [4, 2000, 16]), { positions: 5 }).data;
    const expected = rotary(many.subarray(3 * 32000), 16, Array.from({ length: 2000 }, (_, i) => i + 5), { rotaryDim: 16 }); // prettier-ignore
    expectClose(result.subarray(3 * 32000), expected, TOLERANCE);
  });
});

test("an engine gives the same bits", async () => {
  const engine = await createEngine({ device: "wasm", threads: 2 });
  const x = tensor(numbers("normal", 8 * 4000 * 32), [8, 4000, 32]);
  expectSameBits((await engine.applyRotary(x, { positions: 9 })).data, applyRotary(x, { positions: 9 }).data);
  expect(engine.explain("applyRotary", { x: [2, 3, 4] }).device).toBe("wasm");
  engine.dispose();
});

describe("bad calls", () => {
  const x = tensor(new Float32Array(24), [2, 3, 4]);
  test.each<readonly [string, unknown, unknown, ErrorType, string]>([
    ["one dimension", new Float32Array(4), {}, RangeError, '"x" expected 2 to 4 dimensions, got shape [4]'],
    ["f64", { data: new Float64Array(8), shape: [2, 4] }, {}, TypeError, '"x" expected dtype f32, got f64'],
    ["wide heads", { data: new Float32Array(1026), shape: [1, 1026] }, {}, UnsupportedError, '"x" expected a last dimension of at most 1024, got 1026'],
    ["an odd rotaryDim", x, { rotaryDim: 3 }, RangeError, '"rotaryDim" expected an even number from 2 to 4, got 3'],
    ["a rotaryDim beyond", x, { rotaryDim: 6 }, RangeError, '"rotaryDim" expected an even number from 2 to 4, got 6'],
    ["a rotaryDim of words", x, { rotaryDim: "4" }, TypeError, '"rotaryDim" expected an even number, got "4"'],
    ["odd heads", { data: new Float32Array(6), shape: [2, 3] }, {}, RangeError, '"rotaryDim" expected an even number from 2 to 3, got 3'],
    [
      "too few positions",
      x,
      { positions: [1, 2] },
      RangeError,
      '"positions" expected a number, one for each row (3) or one for each row of each batch entry (3), got 2',
    ],
    ["half a position", x, { positions: 0.5 }, RangeError, '"positions" expected integers, got 0.5'],
    ["positions that are none", x, { positions: "all" }, TypeError, '"positions" expected an integer, an Int32Array or an array of integers, got "all"'],
    ["a base of 0", x, { base: 0 }, RangeError, '"base" expected a positive number, got 0'],
    ["scaling without a type", x, { scaling: {} }, TypeError, '"scaling" expected a "type", got Object'],
    ["unknown scaling", x, { scaling: { type: "ntk" } }, RangeError, '"scaling.type" expected "linear" | "dynamic" | "llama3" | "yarn", got "ntk"'],
    ["no factor", x, { scaling: { type: "linear" } }, TypeError, '"scaling.factor" expected a number, got undefined'],
    ["a negative factor", x, { scaling: { type: "linear", factor: -1 } }, RangeError, '"scaling.factor" expected a positive number, got -1'],
    [
      "a parameter of another scaling",
      x,
      { scaling: { type: "linear", factor: 2, betaFast: 1 } },
      TypeError,
      '"betaFast" is not an option here; expected one of type, factor',
    ],
    ["frequency factors the wrong way round", x, { scaling: { type: "llama3", factor: 2, lowFrequencyFactor: 4, highFrequencyFactor: 1, originalLength: 64 } }, RangeError, '"scaling.highFrequencyFactor" expected more than the 4 of lowFrequencyFactor, got 1'], // prettier-ignore
    ["an out of another shape", x, { out: new Float32Array(23) }, RangeError, '"out" expected 24 elements for shape [2, 3, 4], got 23'],
    [
      "an unknown option",
      x,
      { theta: 1 },
      TypeError,
      '"theta" is not an option here; expected one of base, rotaryDim, interleaved, scaling, positions, layout, out',
    ],
  ])("%s", (_, value, options, error, message) => expectThrown(() => applyRotary(value as never, options as RotaryOptions), error, message));
});
