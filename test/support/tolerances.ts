import { expect } from "vitest";
import type { Tolerance } from "./tolerance-table.ts";

export * from "./tolerance-table.ts";

/** The largest error as a multiple of what the tolerance allows. NaN and infinities must be equal. */
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

/** The first element whose bits differ, or −1. All NaN count as equal. */
export function firstDifferentBit(actual: Float32Array | Float64Array, expected: Float32Array | Float64Array): number {
  for (let i = 0; i < expected.length; i++) if (!Object.is(actual[i], expected[i])) return i;
  return -1;
}
