import type { Op, Tolerance } from "../support/tolerances.ts";

/** Half an ULP of f32, relative. */
const EPS = 2 ** -24;

// Where an error comes from on the GPU, d being max − x (WGSL rounds +, − and · correctly; 1/x is off by up to 2.5 ULP):
// - two subtractions, x − m of the lane and m of the lane − m of the row, round to d · EPS together, which the exponential turns into
//   a relative error of as much;
// - two exponentials (src/backend/webgpu/kernels/exp-log.ts) are off by 1.5 ULP each, so by 3.6e-7 together, above and below the line;
// - a thread adds up to 32 numbers in each of four sums, its lanes and segments merge as a tree: EPS each, at random;
// - the reciprocal 3e-7, the products 6e-8 each.
const TABLE: Readonly<Record<Op, Tolerance>> = {
  // For d < 16 all of this stays below 2e-6. Farther out d · EPS may add more, to a result below e⁻¹⁶: less than 1e-13.
  softmax: { relative: 2e-6, absolute: 1e-13 },
  // Three roundings, none of a number larger than the result. The sum's relative error becomes an absolute one, and ln Σ is off by one
  // ULP of at most 16.
  logSoftmax: { relative: 2e-7, absolute: 2e-6 },
  // The rounding of the result, and the same.
  logSumExp: { relative: 6e-8, absolute: 2e-6 },
};

/** The tolerance of an operation, where scale and bias have made scores of at most `magnitude`, each off by three roundings. */
export function gpuTolerance(op: Op, magnitude = 0): Tolerance {
  const { relative, absolute } = TABLE[op];
  const score = 3 * EPS * magnitude;
  return op === "softmax" ? { relative: relative + 2 * score, absolute } : { relative, absolute: absolute + 2 * score };
}
