// A row of f64, in three passes: f64 has only this safe form, no online one.
import { expBounded64 } from "../math/exp64";
import { log, log1p } from "../math/log";
import { LOWEST64, NEG_INF64, constant64 } from "../simd/constants64";
import { reduceMax64, reduceSum64 } from "../simd/reduce";

/** Elements per partial sum. */
const BLOCK64: usize = 1024;
/** As in block.ts: with a larger sum, its logarithm is large enough for the sum's error. */
const DOMINATED: f64 = 1.125;

/** Largest element, ignoring NaN. */
export function rowMax(x: usize, cols: usize): f64 {
  let m = constant64(LOWEST64);
  const end = x + (cols << 3);
  for (; x + 16 <= end; x += 16) m = f64x2.pmax(m, v128.load(x));
  if (x < end) m = f64x2.pmax(m, v128.load_lane<f64>(x, m, 0));
  return reduceMax64(m);
}

/** Σ exp(x − m); with `keep` the exponentials go to `y`. */
export function rowExp(x: usize, y: usize, cols: usize, max: f64, keep: bool): f64 {
  const m = f64x2.splat(max);
  const end = x + (cols << 3);
  let sum: f64 = 0;
  while (x < end) {
    let partial = f64x2.splat(0);
    for (const stop = min(x + (BLOCK64 << 3), end); x < stop; x += 16, y += 16) {
      if (x + 16 <= end) {
        const e = expBounded64(f64x2.sub(v128.load(x), m));
        partial = f64x2.add(partial, e);
        if (keep) v128.store(y, e);
      } else {
        const e = expBounded64(f64x2.sub(v128.load_lane<f64>(x, constant64(NEG_INF64), 0), m));
        partial = f64x2.add(partial, e);
        if (keep) v128.store_lane<f64>(y, e, 0);
      }
    }
    sum += reduceSum64(partial);
  }
  return sum;
}

/** ln Σ exp(x − m), given the sum as computed. Where one element dominates, the others are summed again without its 1, as in blockRest. */
export function rowLog(x: usize, cols: usize, max: f64, sum: f64): f64 {
  if (!(sum >= 1 && sum < DOMINATED)) return log(sum);
  let at: usize = 0;
  while (load<f64>(x + (at << 3)) != max) at++;
  return log1p(rowExp(x, 0, at, max, false) + rowExp(x + (at << 3) + 8, 0, cols - at - 1, max, false));
}

/** Whether any element is NaN. */
export function rowHasNaN(x: usize, cols: usize): bool {
  for (const end = x + (cols << 3); x < end; x += 8) {
    const v = load<f64>(x);
    if (v != v) return true;
  }
  return false;
}
