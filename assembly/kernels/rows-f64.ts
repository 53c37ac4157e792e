import { expBounded64 } from "../math/exp64";
import { log } from "../math/log";
import { LOWEST64, NEG_INF64, constant64 } from "../simd/constants";
import { reduceMax64, reduceSum64 } from "../simd/reduce";

// Which result `rows_f64` writes.
const SOFTMAX: i32 = 0;
const LOG_SOFTMAX: i32 = 1;

/** Elements per partial sum. */
const BLOCK64: usize = 1024;

function rowMax(x: usize, cols: usize): f64 {
  let m = constant64(LOWEST64);
  const end = x + (cols << 3);
  for (; x + 16 <= end; x += 16) m = f64x2.pmax(m, v128.load(x));
  if (x < end) m = f64x2.pmax(m, v128.load_lane<f64>(x, m, 0));
  return reduceMax64(m);
}

/** Σ exp(x − m); with `keep` the exponentials go to `y`. */
function rowExp(x: usize, y: usize, cols: usize, max: f64, keep: bool): f64 {
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

function hasNaN(x: usize, cols: usize): bool {
  for (const end = x + (cols << 3); x < end; x += 8) {
    const v = load<f64>(x);
    if (v != v) return true;
  }
  return false;
}

/**
 * The f64 path of all three row operations, safe (three passes), for `rows` rows of `cols` f64.
 * `op` 0: softmax, 1: log-softmax, 2: log-sum-exp (one f64 per row). Strides are in bytes; `y` may be `x`.
 */
export function rows_f64(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, op: i32, safe: bool): void {
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    const m = rowMax(x, cols);
    const l = rowExp(x, y, cols, m, op == SOFTMAX);
    if (op == SOFTMAX) {
      const factor: f64 = safe && l == 0 ? 0 : 1.0 / l;
      for (let i: usize = 0; i < cols; i++) store<f64>(y + (i << 3), load<f64>(y + (i << 3)) * factor);
    } else if (op == LOG_SOFTMAX) {
      const shift: f64 = m == Infinity ? NaN : safe && l == 0 ? 0 : log(l);
      for (let i: usize = 0; i < cols; i++) store<f64>(y + (i << 3), load<f64>(x + (i << 3)) - m - shift);
    } else {
      store<f64>(y, m == Infinity && !hasNaN(x, cols) ? Infinity : l == 0 ? -Infinity : m + log(l));
    }
  }
}

/** As `modify_f32`, for f64. */
export function modify_f64(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scale: f64, bias: usize, biasStride: usize, mask: usize, maskStride: usize): void {
  for (; rows > 0; rows--, x += xStride, y += yStride, bias += biasStride, mask += maskStride) {
    for (let i: usize = 0; i < cols; i++) {
      let v = load<f64>(x + (i << 3)) * scale;
      if (bias) v += load<f64>(bias + (i << 3));
      if (mask && !load<u8>(mask + i)) v = -Infinity;
      store<f64>(y + (i << 3), v);
    }
  }
}
