import { C2, C3, C4, C5, C6, EXP_MAX, EXP_MIN, INF, LN2_HI, LN2_LO, LOG2E, MAGIC, ONE, constant } from "../simd/constants";
import { madd, nmadd } from "../simd/fma";

// eˣ = 2ⁿ · eᵗ with n = round(x · log₂e) and t = x − n · ln 2 (Cody and Waite, two steps), eᵗ by a polynomial of degree 6.
// 2ⁿ goes in by integer addition to the exponent field. Below EXP_MIN the result is exactly 0 and exp(0) is exactly 1.
// Error in the normal range against float64, every f32 tested: 1 ULP fused, 1.5 ULP unfused (test/kernels/exp.test.ts).

/** eˣ per lane for x ≤ EXP_MAX: the form of the loops, where the row's max has been subtracted. NaN propagates. */
@inline export function expBounded(x: v128): v128 {
  const magic = constant(MAGIC);
  const r = madd(x, constant(LOG2E), magic);
  const n = f32x4.sub(r, magic);
  const t = nmadd(n, constant(LN2_LO), nmadd(n, constant(LN2_HI), x));
  const one = constant(ONE);
  let p = madd(constant(C6), t, constant(C5));
  p = madd(p, t, constant(C4));
  p = madd(p, t, constant(C3));
  p = madd(p, t, constant(C2));
  p = madd(p, t, one);
  p = madd(p, t, one);
  return v128.andnot(i32x4.add(p, i32x4.shl(r, 23)), f32x4.lt(x, constant(EXP_MIN)));
}

/** eˣ per lane on the whole of f32: exactly +inf above EXP_MAX. */
@inline export function exp(x: v128): v128 {
  return v128.bitselect(constant(INF), expBounded(x), f32x4.gt(x, constant(EXP_MAX)));
}

/** eˣ of one number, x ≤ EXP_MAX, by the same operations. */
@inline export function expScalar(x: f32): f32 {
  return f32x4.extract_lane(expBounded(f32x4.splat(x)), 0);
}

/**
 * `dst = exp(src − m)` for four vectors that lie `STEP` bytes apart, and their sum.
 *
 * The four chains are written side by side so that each constant is loaded once per 16 elements: 25% over four calls.
 * STORE, FULL (the whole range of f32) and SHIFT (subtract m) are constants and cost nothing at run time.
 */
@inline export function exp4(src: usize, dst: usize, STEP: usize, m: v128, STORE: bool, SHIFT: bool, FULL: bool): v128 {
  let x0 = v128.load(src), x1 = v128.load(src + STEP), x2 = v128.load(src + 2 * STEP), x3 = v128.load(src + 3 * STEP);
  if (SHIFT) {
    x0 = f32x4.sub(x0, m);
    x1 = f32x4.sub(x1, m);
    x2 = f32x4.sub(x2, m);
    x3 = f32x4.sub(x3, m);
  }
  const magic = constant(MAGIC);
  let c = constant(LOG2E);
  const r0 = madd(x0, c, magic), r1 = madd(x1, c, magic), r2 = madd(x2, c, magic), r3 = madd(x3, c, magic);
  const n0 = f32x4.sub(r0, magic), n1 = f32x4.sub(r1, magic), n2 = f32x4.sub(r2, magic), n3 = f32x4.sub(r3, magic);
  c = constant(LN2_HI);
  let t0 = nmadd(n0, c, x0), t1 = nmadd(n1, c, x1), t2 = nmadd(n2, c, x2), t3 = nmadd(n3, c, x3);
  c = constant(LN2_LO);
  t0 = nmadd(n0, c, t0);
  t1 = nmadd(n1, c, t1);
  t2 = nmadd(n2, c, t2);
  t3 = nmadd(n3, c, t3);
  c = constant(C6);
  let d = constant(C5);
  let p0 = madd(c, t0, d), p1 = madd(c, t1, d), p2 = madd(c, t2, d), p3 = madd(c, t3, d);
  c = constant(C4);
  p0 = madd(p0, t0, c);
  p1 = madd(p1, t1, c);
  p2 = madd(p2, t2, c);
  p3 = madd(p3, t3, c);
  c = constant(C3);
  p0 = madd(p0, t0, c);
  p1 = madd(p1, t1, c);
  p2 = madd(p2, t2, c);
  p3 = madd(p3, t3, c);
  c = constant(C2);
  p0 = madd(p0, t0, c);
  p1 = madd(p1, t1, c);
  p2 = madd(p2, t2, c);
  p3 = madd(p3, t3, c);
  c = constant(ONE);
  p0 = madd(p0, t0, c);
  p1 = madd(p1, t1, c);
  p2 = madd(p2, t2, c);
  p3 = madd(p3, t3, c);
  p0 = madd(p0, t0, c);
  p1 = madd(p1, t1, c);
  p2 = madd(p2, t2, c);
  p3 = madd(p3, t3, c);
  c = constant(EXP_MIN);
  p0 = v128.andnot(i32x4.add(p0, i32x4.shl(r0, 23)), f32x4.lt(x0, c));
  p1 = v128.andnot(i32x4.add(p1, i32x4.shl(r1, 23)), f32x4.lt(x1, c));
  p2 = v128.andnot(i32x4.add(p2, i32x4.shl(r2, 23)), f32x4.lt(x2, c));
  p3 = v128.andnot(i32x4.add(p3, i32x4.shl(r3, 23)), f32x4.lt(x3, c));
  if (FULL) {
    c = constant(EXP_MAX);
    d = constant(INF);
    p0 = v128.bitselect(d, p0, f32x4.gt(x0, c));
    p1 = v128.bitselect(d, p1, f32x4.gt(x1, c));
    p2 = v128.bitselect(d, p2, f32x4.gt(x2, c));
    p3 = v128.bitselect(d, p3, f32x4.gt(x3, c));
  }
  if (STORE) {
    v128.store(dst, p0);
    v128.store(dst + STEP, p1);
    v128.store(dst + 2 * STEP, p2);
    v128.store(dst + 3 * STEP, p3);
  }
  return f32x4.add(f32x4.add(p0, p1), f32x4.add(p2, p3));
}
