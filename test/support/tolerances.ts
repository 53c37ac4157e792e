import { expect } from "vitest";

export type Op = "softmax" | "logSoftmax" | "logSumExp";
export type Backend = "wasm";
export type FloatType = "f32" | "f64";

/** A result passes when it differs from the reference by at most `absolute + relative · |reference|`. */
export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** Half an ULP, relative. */
const EPS = { f32: 2 ** -24, f64: 2 ** -53 } as const;

// Where an error comes from, d being max − x, the distance of an element from the max of its row:
// - the subtraction rounds to half an ULP of d, which the exponential turns into a relative error of at most d · EPS;
// - the exponential is off by at most 1.5 ULP in f32 (twice that in the online algorithm, which rescales), 2 ULP in f64;
// - a block of 1024 is summed in 16 f32 lanes: 64 additions each, at random and mostly less than EPS; blocks are summed in f64;
// - the reciprocal and the product round once each.
const TABLE: Readonly<Record<Op, Readonly<Record<FloatType, Readonly<Record<Backend, Tolerance>>>>>> = {
  softmax: {
    // For d < 16 all of the above stays below 1e-6. Farther out the subtraction alone may reach d · 6e-8, but the result is
    // below e⁻¹⁶ then: its excess over 1e-6 is below 5e-14. Results below the smallest normal (1e-38) may be flushed to 0.
    f32: { wasm: { relative: 1e-6, absolute: 5e-14 } },
    // The same in f64: d · EPS exceeds 2e-14 for d > 180 only, where the result is below 1e-78.
    f64: { wasm: { relative: 2e-14, absolute: 1e-90 } },
  },
  logSoftmax: {
    // Three roundings (x − max, log Σ, their difference), none of a number larger than the result: 3 · 6e-8. The sum's relative
    // error becomes an absolute one.
    f32: { wasm: { relative: 2e-7, absolute: 1e-6 } },
    f64: { wasm: { relative: 4e-16, absolute: 2e-14 } },
  },
  logSumExp: {
    // One rounding, of the result; max + log Σ is f64 inside. The sum's relative error becomes an absolute one.
    f32: { wasm: { relative: 6e-8, absolute: 1e-6 } },
    f64: { wasm: { relative: 4e-16, absolute: 2e-14 } },
  },
};

export function toleranceOf(op: Op, dtype: FloatType, backend: Backend = "wasm"): Tolerance {
  return TABLE[op][dtype][backend];
}

/**
 * The tolerance of a call with scale or bias: factor, product and sum are rounded to the dtype, each to EPS of a number of at
 * most `magnitude`. The exponential turns an error of the score into a relative one, and every other score of the row may
 * err the other way.
 */
export function withModifiers(op: Op, dtype: FloatType, magnitude: number): Tolerance {
  const { relative, absolute } = toleranceOf(op, dtype);
  const score = 3 * EPS[dtype] * magnitude;
  return op === "softmax" ? { relative: relative + 2 * score, absolute } : { relative, absolute: absolute + 2 * score };
}

/** The largest error as a multiple of what the tolerance allows; NaN and infinities have to be equal. */
export function worstRatio(actual: ArrayLike<number>, expected: ArrayLike<number>, { relative, absolute }: Tolerance): { ratio: number; index: number } {
  let ratio = 0;
  let index = -1;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i] ?? NaN;
    const e = expected[i] ?? NaN;
    let r: number;
    if (!Number.isFinite(e) || !Number.isFinite(a)) r = Object.is(a, e) ? 0 : Infinity;
    else r = Math.abs(a - e) / (absolute + relative * Math.abs(e));
    if (r > ratio) [ratio, index] = [r, i];
  }
  return { ratio, index };
}

/** Asserts that results agree with the reference. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: Tolerance, label = ""): void {
  expect(actual.length, `${label}: number of elements`).toBe(expected.length);
  const { ratio, index } = worstRatio(actual, expected, tolerance);
  expect(ratio, `${label}: element ${index} is ${actual[index]}, expected ${expected[index]}; error over tolerance`).toBeLessThanOrEqual(1);
}

/** Asserts that two results have the same bits. */
export function expectSameBits(actual: Float32Array | Float64Array, expected: Float32Array | Float64Array, label = ""): void {
  expect(actual.length, `${label}: number of elements`).toBe(expected.length);
  const index = firstDifferentBit(actual, expected);
  expect(index, `${label}: element ${index} is ${actual[index]}, not ${expected[index]}`).toBe(-1);
}

/** The first element whose bits differ, or −1. All NaN count as one. */
export function firstDifferentBit(actual: Float32Array | Float64Array, expected: Float32Array | Float64Array): number {
  for (let i = 0; i < expected.length; i++) if (!Object.is(actual[i], expected[i])) return i;
  return -1;
}
