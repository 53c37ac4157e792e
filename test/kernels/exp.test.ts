import { describe, expect, test } from "vitest";
import { expErrorInUlp } from "../reference/double-double.ts";
import { isFused } from "../support/fused.ts";
import { random } from "../support/numbers.ts";
import { describeVariants } from "../support/variants.ts";

/** The smallest f32 whose exponential is a normal number, and the largest whose is finite. */
const EXP_MIN = -87.33654022216797;
const EXP_MAX = 88.72283172607422;

/** Between −FLAT and FLAT, where three quarters of the bit patterns lie, every exponential rounds to 1. */
const FLAT = 2 ** -26;

/** Every n-th f32 is tried; a prime, so that all low bits occur; 1 with ONEPASS_EXHAUSTIVE set. */
const STEP = (process.env["ONEPASS_EXHAUSTIVE"] ?? "") === "" ? 11 : 1;
const CHUNK = 1 << 16;

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

function bitsOf(value: number): number {
  float[0] = value;
  return bits[0] ?? 0;
}

/** 2^(e − 1023 − 23) by the exponent bits e of an f64: the ULP of an f32 in its binade. */
const ULP_F32 = Float64Array.from({ length: 2047 }, (_, e) => 2 ** (e - 1046));

describeVariants("exp_f32", ({ kernels, memory }, variant) => {
  const source = memory.allocate(CHUNK * 4);
  const target = memory.allocate(CHUNK * 4);
  const input = (): Float32Array => new Float32Array(memory.memory.buffer, source, CHUNK);
  const output = (): Float32Array => new Float32Array(memory.memory.buffer, target, CHUNK);

  function exp(values: readonly number[]): number[] {
    input().fill(0).set(values);
    kernels.exp_f32(source, target, CHUNK);
    return [...output().subarray(0, values.length)];
  }

  /** The largest error over every `step`-th f32 whose bits lie in [from, to]. */
  function worstUlp(from: number, to: number, step: number): { ulp: number; at: number; count: number } {
    const inputBits = new Uint32Array(memory.memory.buffer, source, CHUNK);
    const [x, y] = [input(), output()];
    const reference = new Float64Array(1);
    const high = new Int32Array(reference.buffer);
    let [worst, at, count] = [0, 0, 0];
    for (let next = from; next <= to; next += CHUNK * step) {
      for (let i = 0; i < CHUNK; i++) inputBits[i] = Math.min(next + i * step, to);
      kernels.exp_f32(source, target, CHUNK);
      for (let i = 0; i < CHUNK; i++) {
        const exact = Math.exp(x[i] ?? 0);
        reference[0] = exact;
        const ulp = Math.abs((y[i] ?? NaN) - exact) / (ULP_F32[(high[1] ?? 0) >> 20] ?? 0);
        // The other way round NaN would pass.
        if (!(ulp <= worst)) [worst, at] = [ulp, x[i] ?? 0];
      }
      count += CHUNK;
    }
    return { ulp: worst, at, count };
  }

  const limit = variant === "relaxed" && isFused() ? 1 : 1.5;

  test(`at most ${limit} ULP from -87.336 to 88.722, against float64`, () => {
    const parts = [
      worstUlp(bitsOf(FLAT), bitsOf(EXP_MAX), STEP),
      worstUlp(bitsOf(-FLAT), bitsOf(EXP_MIN), STEP),
      // Where the result is 1 or nearly, sparsely; and every f32 at both ends.
      worstUlp(bitsOf(0), bitsOf(FLAT), 4999),
      worstUlp(bitsOf(-0), bitsOf(-FLAT), 4999),
      worstUlp(bitsOf(EXP_MAX) - CHUNK, bitsOf(EXP_MAX), 1),
      worstUlp(bitsOf(EXP_MIN) - CHUNK, bitsOf(EXP_MIN), 1),
    ];
    const worst = parts.reduce((a, b) => (b.ulp > a.ulp ? b : a));
    expect(parts.reduce((sum, part) => sum + part.count, 0)).toBeGreaterThan(40e6);
    expect(worst.ulp, `error of exp(${worst.at}) in ULP`).toBeLessThanOrEqual(limit);
    // Were the measurement broken, it would find a function without error.
    expect(worst.ulp).toBeGreaterThan(0.5);
  });

  test("exactly 1 at 0 and -0", () => expect(exp([0, -0])).toEqual([1, 1]));

  test("exactly 0 for -inf and everything below the smallest normal result", () => {
    const below = bitsOf(EXP_MIN) + 1;
    const values = [-Infinity, -3.4028234663852886e38, -1e30, -1e10, -1000, -104, -103.97, -88, -87.4];
    for (let i = 0; i < 1000; i++) {
      bits[0] = below + i;
      values.push(float[0] ?? 0);
      bits[0] = below + (((bitsOf(-Infinity) - below) / 1000) | 0) * i;
      values.push(float[0] ?? 0);
    }
    expect(exp(values).filter((y) => !Object.is(y, 0))).toEqual([]);
    expect(exp([EXP_MIN])[0]).toBeGreaterThanOrEqual(2 ** -126);
  });

  test("exactly +inf above overflow", () => {
    bits[0] = bitsOf(EXP_MAX) + 1;
    const above = float[0] ?? 0;
    expect(exp([above, 88.73, 89, 104, 1000, 1e10, 1e38, 3.4028234663852886e38, Infinity])).toEqual(new Array(9).fill(Infinity));
    expect(exp([EXP_MAX])[0]).toBeLessThan(Infinity);
  });

  test.each(["7fc00000", "ffc00000", "7fc00001", "7fffffff", "ffffffff", "7f800001", "7fdeadbe"])("NaN of the bits %s propagates", (pattern) => {
    new Uint32Array(memory.memory.buffer, source, 4).fill(parseInt(pattern, 16));
    kernels.exp_f32(source, target, 4);
    expect([...output().subarray(0, 4)]).toEqual([NaN, NaN, NaN, NaN]);
  });

  test("denormal arguments give 1", () => expect(exp([1e-45, -1e-45, 1e-40, -1e-38])).toEqual([1, 1, 1, 1]));
});

describeVariants("exp_f64", ({ kernels, memory }) => {
  const source = memory.allocate(CHUNK * 8);
  const target = memory.allocate(CHUNK * 8);
  const COUNT = 1 << 13;

  function exp(values: ArrayLike<number>): Float64Array {
    new Float64Array(memory.memory.buffer, source, values.length).set(values);
    kernels.exp_f64(source, target, values.length + (values.length % 2));
    return new Float64Array(memory.memory.buffer, target, values.length).slice();
  }

  // Measured in double-double: Math.exp itself is off by 0.86 ULP.
  test.each([
    ["from -708.39 to 709", -708.39, 709],
    ["from -87 to 0", -87, 0],
    ["from -1 to 1", -1, 1],
    ["from -1e-5 to 1e-5", -1e-5, 1e-5],
  ])("at most 2 ULP %s", (_, low, high) => {
    const next = random(3);
    const x = Float64Array.from({ length: 4 * COUNT }, () => low + (high - low) * next());
    const y = exp(x);
    let worst = 0;
    x.forEach((v, i) => {
      const error = expErrorInUlp(y[i] ?? NaN, v);
      if (!(error <= worst)) worst = error;
    });
    expect(worst).toBeLessThanOrEqual(2);
    expect(worst).toBeGreaterThan(0);
  });

  test("exactly 1 at 0, exactly 0 for -inf and below the smallest normal result", () => {
    expect([...exp([0, -0])]).toEqual([1, 1]);
    expect([...exp([-Infinity, -708.4, -709, -745, -746, -1e5, -1e300, -1.7976931348623157e308])]).toEqual(new Array(8).fill(0));
    expect(exp([-708.396])[0]).toBeGreaterThanOrEqual(2 ** -1022);
  });

  test.each(["7ff8000000000000", "fff8000000000000", "7ff8000000000001", "ffffffffffffffff", "7ff0000000000001"])(
    "NaN of the bits %s propagates",
    (pattern) => {
      new BigUint64Array(memory.memory.buffer, source, 2).fill(BigInt(`0x${pattern}`));
      kernels.exp_f64(source, target, 2);
      expect([...new Float64Array(memory.memory.buffer, target, 2)]).toEqual([NaN, NaN]);
    },
  );
});

describe("the reference of exp_f64", () => {
  test("agrees with known digits", () => {
    // e = 2.71828182845904523536028747135266249775724709…, as the nearest f64 and what is left of it.
    expect(expErrorInUlp(Math.E, 1)).toBeCloseTo(1.4456468917292502e-16 / 2 ** -51, 12);
    expect(expErrorInUlp(1, 0)).toBe(0);
    expect(expErrorInUlp(1 + 2 ** -52, 0)).toBe(1);
  });
});
