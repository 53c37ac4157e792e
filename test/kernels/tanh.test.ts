import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { describeVariants } from "../support/variants.ts";

// The binaries do not export tanh; softcap is its only use. With E = 1, q = 1 and scale 1 the keys are the scores, exactly, and
// with a cap of 1 the softcapped scores are tanh of them.

/** Every n-th f32 is tried; a prime, so that all low bits occur. 1 with ONEPASS_EXHAUSTIVE set. */
const STEP = (process.env["ONEPASS_EXHAUSTIVE"] ?? "") === "" ? 101 : 1;
const CHUNK = 1 << 19;

/** Where the kernel changes from a polynomial to the exponential, and where it has reached 1. */
const SMALL = 0.625;
const MAX = 10;

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

function bitsOf(value: number): number {
  float[0] = value;
  return bits[0] ?? 0;
}

/** The ULP of an f32 of this magnitude. */
function ulpOf(value: number): number {
  float[0] = Math.abs(value);
  return 2 ** (Math.max((bits[0] ?? 0) >>> 23, 1) - 150);
}

describeVariants("tanh", (instance) => {
  /** Scores after softcap; `scores` may have any length. */
  function softcap(scores: Float32Array, cap: number): Float32Array {
    return instance.attentionScores(tensor(new Float32Array([1]), [1, 1]), tensor(scores, [scores.length, 1]), { scale: 1, softcap: cap, stage: "softcapped" })
      .data;
  }

  /** The largest error in ULP of c · tanh(s / c) over every `step`-th f32 whose bits lie in [from, to]. */
  function worstUlp(cap: number, from: number, to: number, step: number): { ulp: number; at: number; count: number } {
    let [worst, at, count] = [0, 0, 0];
    const chunk = new Float32Array(CHUNK);
    const chunkBits = new Uint32Array(chunk.buffer);
    for (let next = from; next <= to; next += CHUNK * step) {
      for (let i = 0; i < CHUNK; i++) chunkBits[i] = Math.min(next + i * step, to);
      const y = softcap(chunk, cap);
      for (let i = 0; i < CHUNK; i++) {
        const exact = cap * Math.tanh((chunk[i] ?? NaN) / cap);
        const ulp = Math.abs((y[i] ?? NaN) - exact) / ulpOf(exact);
        // The other way round NaN would pass.
        if (!(ulp <= worst)) [worst, at] = [ulp, chunk[i] ?? NaN];
      }
      count += CHUNK;
    }
    return { ulp: worst, at, count };
  }

  test("at most 2.5 ULP from 2^-40 to 12, and densely where the formula changes", () => {
    const parts = [
      worstUlp(1, bitsOf(2 ** -40), bitsOf(12), STEP),
      worstUlp(1, bitsOf(-(2 ** -40)), bitsOf(-12), STEP * 7),
      worstUlp(1, bitsOf(SMALL) - CHUNK / 2, bitsOf(SMALL) + CHUNK / 2 - 1, 1),
      worstUlp(1, bitsOf(MAX) - CHUNK / 2, bitsOf(MAX) + CHUNK / 2 - 1, 1),
      worstUlp(1, bitsOf(0), bitsOf(2 ** -40), 7919),
      worstUlp(1, bitsOf(12), bitsOf(3.4028234663852886e38), 9973),
    ];
    const worst = parts.reduce((a, b) => (b.ulp > a.ulp ? b : a));
    expect(worst.ulp, `error of tanh(${worst.at}) in ULP`).toBeLessThanOrEqual(2.5);
    // Were the measurement broken, it would find a function without error.
    expect(worst.ulp).toBeGreaterThan(0.5);
    expect(parts.reduce((sum, part) => sum + part.count, 0)).toBeGreaterThan(5e6);
  });

  // s / c is a product with the rounded 1/c: two roundings, 2 · 2⁻²⁴ relative, which tanh does not amplify (x · tanh′ ≤ tanh):
  // at most 2 ULP. Those of tanh double where the product with c crosses a power of two: 5. The product rounds: ½.
  describe.each([50, 30, 15, 3, 0.7])("softcap %d", (cap) => {
    test("at most 7.5 ULP", () => {
      const { ulp, at } = worstUlp(cap, bitsOf(cap * 2 ** -30), bitsOf(cap * 12), STEP * 7);
      expect(ulp, `error of ${cap} · tanh(${at} / ${cap}) in ULP`).toBeLessThanOrEqual(7.5);
      expect(ulp).toBeGreaterThan(0.5);
    });

    test("never exceeds the cap, and reaches it", () => {
      const scores = Float32Array.from({ length: 4000 }, (_, i) => (i - 2000) * cap * 0.02);
      const y = softcap(scores, cap);
      expect(y.every((v) => Math.abs(v) <= Math.fround(cap))).toBe(true);
      expect([...softcap(new Float32Array([10 * cap, 1e30, Infinity, -10 * cap, -1e30, -Infinity]), cap)]).toEqual(
        [1, 1, 1, -1, -1, -1].map((sign) => sign * Math.fround(cap)),
      );
    });
  });

  test("at most 2.5 ULP for a cap that is a power of two, by which products are exact", () => {
    for (const cap of [0.5, 2, 32]) expect(worstUlp(cap, bitsOf(cap * 2 ** -30), bitsOf(cap * 12), STEP * 7).ulp).toBeLessThanOrEqual(2.5);
  });

  test("is odd, to the bit", () => {
    const scores = Float32Array.from({ length: 100000 }, (_, i) => 1.0003 ** (i - 70000));
    const negative = softcap(
      scores.map((s) => -s),
      1,
    );
    softcap(scores, 1).forEach((y, i) => {
      if (!Object.is(negative[i], -y)) expect.fail(`tanh(${-(scores[i] ?? 0)}) is ${negative[i]}, not ${-y}`);
    });
  });

  test("-0, 0, denormals, infinities and NaN", () => {
    // A score is a sum that starts at 0, so -0 arrives as 0.
    expect([...softcap(new Float32Array([0, 1e-45, -1e-45, 1e-40, Infinity, -Infinity, NaN]), 1)]).toEqual([
      0,
      Math.fround(1e-45),
      -Math.fround(1e-45),
      Math.fround(1e-40),
      1,
      -1,
      NaN,
    ]);
  });
});
