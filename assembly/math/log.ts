/**
 * Natural logarithm of a positive normal f64, once per row. Error at most 1 ULP on [2⁻¹⁰²², 2¹⁰²³] (test/kernels/log.test.ts).
 *
 * x = 2ᵏ · f with √½ < f ≤ √2. Then log f = 2 · atanh(s) with s = (f − 1)/(f + 1), |s| ≤ 0.1716, from its Taylor series.
 * The first dropped term is s²⁵/25 < 3e-21.
 */
export function log(x: f64): f64 {
  if (!(x > 0) || x == Infinity) return x == 0 ? -Infinity : x > 0 ? x : NaN;
  const bits = reinterpret<i64>(x);
  // 0x3FE6A09E667F3BCD is √½: after subtracting it, the exponent changes where f passes √½.
  const k = (bits - 0x3FE6A09E667F3BCD) >> 52;
  const f = reinterpret<f64>(bits - (k << 52));
  const g = f - 1.0; // exact
  const s = g / (2.0 + g);
  const z = s * s;
  let p: f64 = 1.0 / 23.0;
  p = p * z + 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  const n = <f64>k;
  // 2s + 2s·z·p, rewritten as g − (g²/2 − s · (g²/2 + 2z·p)): the leading term is exact, and the rounded s only corrects it.
  // ln 2 comes in two parts. The first has 33 bits, so n times it is exact.
  const half = 0.5 * g * g;
  return n * 0.6931471803691238 - (half - (s * (half + 2.0 * z * p) + n * 1.9082149292705877e-10) - g);
}

/** ln(1 + x) for x ≥ 0, to 1e-15 relative also where 1 + x has few digits of x (Kahan). */
export function log1p(x: f64): f64 {
  const u = 1.0 + x;
  return u == 1.0 ? x : log(u) * (x / (u - 1.0));
}
