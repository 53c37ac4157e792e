import { checkedPart, type Problem } from "./problem.ts";

/** Who is verified: kernels of onepass on the CPU or the GPU, or anyone else. */
export type Who = "wasm" | "webgpu" | "other";

/** Half a unit in the last place of f32, relative. */
const EPS = 2 ** -24;

/**
 * The largest error that passes, relative to the right value, or to `errorFloor` where that is smaller.
 *
 * Rows: the distance to the max is rounded to f32, which alone makes 1.9e-6 where it is 32 to 64, as here; exp, the sum and the
 * division add a few units in the last place. WGSL allows exp 3 + 2 · |x| of these, and rows reach to about 45 below their max. Others
 * may add all terms in f32 in four lanes, and lose half a unit at each. The report shows the error that everyone really makes.
 *
 * Products: a running sum of `depth` terms of about 1 is of the order of √depth, and each step rounds it by up to half a unit at random:
 * depth · EPS in all. Four lanes and chunks halve that, which plain loops in f32 do not.
 *
 * Attention: 3e-7 of the largest value for standard-normal input. Scores near 100 are rounded at each of `dim` steps of the dot product,
 * which makes an error of the square root of that many half units. On the GPU, probabilities that count are some 8 below the max. Others
 * may add all keys in f32, one after the other.
 */
export function toleranceOf({ call, operands, heat }: Problem, who: Who): number {
  if (call.op === "linear") return call.depth * EPS * (who === "other" ? 2 : 0.5);
  if (call.op !== "attention") return { wasm: 4e-6, webgpu: 2 * (3 + 2 * 45) * EPS, other: 1e-5 + (call.cols / 4) * EPS }[who];
  const largest = operands[2]?.data.reduce((max, value) => Math.max(max, Math.abs(value)), 0) ?? 0;
  const own = 3e-7 + heat * Math.sqrt(call.dim) * EPS;
  return largest * { wasm: own, webgpu: own + 2 * (3 + 2 * 8) * EPS, other: 10 * own }[who];
}

/** Probabilities are compared relatively, all else is of the order of 1. */
export function errorFloorOf({ call }: Problem): number {
  return call.op === "softmax" ? 1e-30 : 1;
}

/** Compares a result with the reference's rows. Gives the largest error; throws if it is larger than `tolerance`. */
export function verify(got: Float32Array, want: ArrayLike<number>, problem: Problem, tolerance: number): number {
  return compare(checkedPart(got, problem), want, tolerance, errorFloorOf(problem));
}

/** Compares element by element, NaN and infinity first. Errors are relative to `max(|want|, floor)`. */
export function compare(got: Float32Array, want: ArrayLike<number>, tolerance: number, floor: number): number {
  if (got.length !== want.length) throw new Error(`expected ${want.length} numbers, got ${got.length}`);
  let maxError = 0;
  for (let i = 0; i < want.length; i++) {
    const [g, w] = [got[i] ?? NaN, want[i] ?? NaN];
    if (Object.is(g, w)) continue;
    const error = Math.abs(g - w) / Math.max(Math.abs(w), floor);
    if (!(error <= tolerance)) throw new Error(`element ${i}: expected ${w}, got ${g}; error ${error.toExponential(1)}, allowed ${tolerance}`);
    maxError = Math.max(maxError, error);
  }
  return maxError;
}

/** What softmax by the plain formula does where exp overflows: infinity over infinity. */
export function verifyOverflow(got: Float32Array): void {
  if (!got.some(Number.isNaN)) throw new Error("expected exp to overflow to NaN on the hot input, as the standard formula does");
}
