import { EXP_MIN64, LN2_HI64, LN2_LO64, LOG2E64, MAGIC64, TAYLOR64, constant64 } from "../simd/constants64";
import { madd64, nmadd64 } from "../simd/fma";

/** 1/k! in both lanes. */
@inline function taylor(k: usize): v128 {
  return constant64(TAYLOR64 + (k << 3));
}

/**
 * eˣ per f64 lane for x ≤ 709: like expBounded, with a Taylor polynomial of degree 13. At most 2 ULP in the normal range
 * (test/kernels/exp.test.ts), exactly 0 below it; exp(0) is exactly 1; NaN propagates.
 */
@inline export function expBounded64(x: v128): v128 {
  const magic = constant64(MAGIC64);
  const r = madd64(x, constant64(LOG2E64), magic);
  const n = f64x2.sub(r, magic);
  const t = nmadd64(n, constant64(LN2_LO64), nmadd64(n, constant64(LN2_HI64), x));
  let p = madd64(taylor(13), t, taylor(12));
  p = madd64(p, t, taylor(11));
  p = madd64(p, t, taylor(10));
  p = madd64(p, t, taylor(9));
  p = madd64(p, t, taylor(8));
  p = madd64(p, t, taylor(7));
  p = madd64(p, t, taylor(6));
  p = madd64(p, t, taylor(5));
  p = madd64(p, t, taylor(4));
  p = madd64(p, t, taylor(3));
  p = madd64(p, t, taylor(2));
  p = madd64(p, t, taylor(1));
  const power = i64x2.shl(r, 52);
  return v128.andnot(madd64(f64x2.mul(t, power), p, power), f64x2.lt(x, constant64(EXP_MIN64)));
}
