import { EXP_TWO, ONE, TANH_MAX, TANH_SMALL, T3, T5, T7, T9, T11, constant } from "../simd/constants";
import { madd } from "../simd/fma";
import { expBounded } from "./exp";

/**
 * tanh x per lane on all of f32, at most 2.5 ULP (test/kernels/tanh.test.ts). NaN propagates, ±∞ gives ±1.
 *
 * |x| < 0.625: an odd polynomial of degree 11 (Remez, relative error 5e-9). Otherwise 1 − 2/(e²ˣ + 1), which loses no accuracy
 * there. From |x| = 10 on the result is ±1.
 */
@inline export function tanh(x: v128): v128 {
  const one = constant(ONE);
  const a = f32x4.pmin(f32x4.abs(x), constant(TANH_MAX));
  const z = f32x4.mul(a, a);
  let p = madd(constant(T11), z, constant(T9));
  p = madd(p, z, constant(T7));
  p = madd(p, z, constant(T5));
  p = madd(p, z, constant(T3));
  const small = madd(f32x4.mul(p, z), a, a);
  const two = constant(EXP_TWO);
  const large = f32x4.sub(one, f32x4.div(two, f32x4.add(expBounded(f32x4.mul(a, two)), one)));
  const magnitude = v128.bitselect(small, large, f32x4.lt(a, constant(TANH_SMALL)));
  // Put the sign of x on the magnitude.
  return v128.or(magnitude, v128.xor(f32x4.abs(x), x));
}
