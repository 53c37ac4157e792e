// The tolerances of row operations. Without vitest, because processes beside it use them too.

export type Op = "softmax" | "logSoftmax" | "logSumExp";
export type Backend = "wasm" | "webgpu";
export type FloatType = "f32" | "f64";

/** A result passes when it differs from the reference by at most `absolute + relative · |reference|`. */
export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** Half an ULP, relative. */
const EPS = { f32: 2 ** -24, f64: 2 ** -53 } as const;

// Sources of error, where d = max − x is the distance of an element from the max of its row:
// - The subtraction rounds to half an ULP of d, which the exponential turns into a relative error of at most d · EPS.
// - The exponential is off by at most 1.5 ULP in f32 (twice that in the online algorithm, which rescales), 2 ULP in f64.
// - A block of 1024 is summed in 16 f32 lanes: 64 additions each, with random errors mostly below EPS. Blocks are summed in f64.
// - The reciprocal and the product round once each.
// The GPU has no f64, neither as a dtype nor for sums. The kernels' own exponential and logarithm are off by at most 2 ULP
// (src/backend/webgpu/kernels/exp-log.ts), and WGSL's quotient by 2.5 (https://www.w3.org/TR/WGSL/#floating-point-accuracy). An ULP is
// at most 1.2e-7 of the number.
const TABLE: Readonly<Record<Op, Readonly<Record<FloatType, Readonly<Partial<Record<Backend, Tolerance>>>>>>> = {
  softmax: {
    f32: {
      // For d < 16 all of the above stays below 1e-6. Beyond that the subtraction alone may reach d · 6e-8, but then the result is
      // below e⁻¹⁶, and its error exceeds 1e-6 by less than 5e-14. Results below the smallest normal (1e-38) may be flushed to 0.
      wasm: { relative: 1e-6, absolute: 5e-14 },
      // Two exponentials, of the element and of its chunk's max, and the quotient: 6.5 ULP, 8e-7. The subtraction: 5e-7 for d < 16. Then
      // the sum's terms, whose errors hardly add up, and its additions. Beyond that as on the CPU.
      webgpu: { relative: 2e-6, absolute: 5e-14 },
    },
    // The same in f64: d · EPS exceeds 2e-14 only for d > 180, where the result is below 1e-78.
    f64: { wasm: { relative: 2e-14, absolute: 1e-90 } },
  },
  logSoftmax: {
    f32: {
      // Three roundings (x − max, log Σ, their difference), none of a number larger than the result: 3 · 6e-8. The sum's relative
      // error becomes an absolute one.
      wasm: { relative: 2e-7, absolute: 1e-6 },
      // The same roundings. The sum as on the CPU, with two exponentials per term, and its logarithm off by one ULP of at most 16.
      webgpu: { relative: 2e-7, absolute: 1.5e-6 },
    },
    f64: { wasm: { relative: 4e-16, absolute: 2e-14 } },
  },
  logSumExp: {
    f32: {
      // One rounding, of the result: max + log Σ is computed in f64. The sum's relative error becomes an absolute one.
      wasm: { relative: 6e-8, absolute: 1e-6 },
      // log Σ is below 16 for rows of up to 8 million elements: one ULP of it is 9.5e-7. max + log Σ rounds once more. The sum as above.
      webgpu: { relative: 6e-8, absolute: 2e-6 },
    },
    f64: { wasm: { relative: 4e-16, absolute: 2e-14 } },
  },
};

export function toleranceOf(op: Op, dtype: FloatType, backend: Backend): Tolerance {
  const tolerance = TABLE[op][dtype][backend];
  if (tolerance === undefined) throw new RangeError(`${op} of ${dtype} is not computed by ${backend}`);
  return tolerance;
}

/**
 * The tolerance of a call with scale or bias. Factor, product and sum are rounded to the dtype, each with an error of EPS of at
 * most `magnitude`. The exponential turns an error of the score into a relative error, and every other score of the row may err the
 * other way.
 */
export function withModifiers(op: Op, dtype: FloatType, magnitude: number, backend: Backend): Tolerance {
  const { relative, absolute } = toleranceOf(op, dtype, backend);
  const score = 3 * EPS[dtype] * magnitude;
  return op === "softmax" ? { relative: relative + 2 * score, absolute } : { relative, absolute: absolute + 2 * score };
}

/** The same for f32 on a GPU. */
export function gpuTolerance(op: Op, magnitude = 0): Tolerance {
  return withModifiers(op, "f32", magnitude, "webgpu");
}
