import type { Heads } from "./heads.ts";

/** The outcome of comparing a result with its float64 reference. */
export interface Verdict {
  readonly ok: boolean;
  /** Largest error; NaN when the result cannot be compared. */
  readonly maxError: number;
  /** What is wrong, for people; empty when all is well. */
  readonly message: string;
}

/**
 * Largest error of onepass in a row operation, however long the row. The distance to the row's max is rounded to f32, which
 * alone makes 1.9e-6 where it is 32 to 64, as in the rows here; exp, the sum and the division add a few units in the last place.
 */
export const ownTolerance = (): number => 4e-6;

/**
 * Largest error of others for rows of `cols`. Some add all terms of a row in f32 in four lanes, one after the other, which may
 * lose half a unit in the last place at each step. The report shows the error they really make.
 */
export function peerTolerance(cols: number): number {
  return 1e-5 + (cols / 4) * 2 ** -24;
}

/**
 * Largest error of onepass in attention: 3e-7 of the largest value for standard-normal input. Scores near 100 are rounded to f32 at
 * each of `dim` steps of the dot product, which makes an error of the square root of that many half units in the last place.
 */
export function ownAttentionTolerance({ v, heat, dim }: Heads): number {
  return largest(v) * (3e-7 + heat * Math.sqrt(dim) * 2 ** -24);
}

/**
 * Largest error of a probability on the GPU. WGSL allows exp an error of 3 + 2 · |x| units in the last place (2⁻²³ of the value at most),
 * and rows here reach to about 45 below their max.
 */
export const gpuTolerance = (): number => (3 + 2 * 45) * 2 ** -23;

/** The same for attention: probabilities that count are at most some 8 below the max, and scores of hot input lose what they lose on the CPU. */
export function gpuAttentionTolerance(input: Heads): number {
  return ownAttentionTolerance(input) + largest(input.v) * (3 + 2 * 8) * 2 ** -23;
}

/** Largest error of others in attention. Some add all keys of a row in f32, one after the other. */
export function peerAttentionTolerance(input: Heads): number {
  return 10 * ownAttentionTolerance(input);
}

function largest(values: Float32Array): number {
  return values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}

/** Compares element by element, NaN and infinity first. Errors are relative to `max(|want|, floor)`. */
export function verify(got: Float32Array, want: Float64Array, tolerance: number, floor: number): Verdict {
  if (got.length !== want.length) return { ok: false, maxError: NaN, message: `expected ${want.length} numbers, got ${got.length}` };
  let maxError = 0;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const g = got[i] ?? NaN;
    const w = want[i] ?? NaN;
    if (Object.is(g, w)) continue;
    const error = Math.abs(g - w) / Math.max(Math.abs(w), floor);
    if (!(error < Infinity)) return { ok: false, maxError: NaN, message: `element ${i}: expected ${w}, got ${g}` };
    if (error > maxError) {
      maxError = error;
      worst = i;
    }
  }
  if (maxError <= tolerance) return { ok: true, maxError, message: "" };
  return {
    ok: false,
    maxError,
    message: `element ${worst}: expected ${want[worst]}, got ${got[worst]}; error ${maxError.toExponential(1)}, allowed ${tolerance}`,
  };
}

/** What softmax by the plain formula does where exp overflows: infinity over infinity. */
export function verifyOverflow(got: Float32Array): Verdict {
  return got.some(Number.isNaN)
    ? { ok: true, maxError: NaN, message: "" }
    : { ok: false, maxError: NaN, message: "expected exp to overflow to NaN on the hot input, as the standard formula does" };
}
