import { exp4, expBounded, expScalar } from "../math/exp";
import { log } from "../math/log";
import { LOWEST, constant } from "../simd/constants";
import { SCORE_PITCH } from "./layout";
import { reduceMax, reduceSum } from "../simd/reduce";

// The state of flash attention: each row has a running max m, a sum l = Σ exp(s − m) and an accumulator o = Σ exp(s − m) · v.
// Four verbs: start, absorb a tile, merge with another state, finish. Four rows are four lanes.

/** m = FLOOR, l = 0 for four rows. The caller clears the accumulators. */
@inline export function start(max: usize, sum: usize): void {
  v128.store(max, constant(LOWEST));
  v128.store(sum, f32x4.splat(0));
}

/** o = o · factor over `bytes`. */
@inline function rescale(o: usize, bytes: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  for (const end = o + bytes; o < end; o += 32) {
    v128.store(o, f32x4.mul(v128.load(o), f));
    v128.store(o, f32x4.mul(v128.load(o, 16), f), 16);
  }
}

/**
 * Folds one column of a score tile into the state of four rows: `keys` keys (a multiple of four). The scores become exp(s − m), ready to multiply V. Only rows whose max moved have their accumulators touched.
 */
function absorbColumn(s: usize, keys: usize, max: usize, sum: usize, o: usize, oStride: usize): void {
  const end = s + keys * SCORE_PITCH;
  let m0 = v128.load(max), m1 = m0;
  const old = m0;
  for (let p = s; p < end; p += 4 * SCORE_PITCH) {
    m0 = f32x4.pmax(m0, v128.load(p));
    m1 = f32x4.pmax(m1, v128.load(p + SCORE_PITCH));
    m0 = f32x4.pmax(m0, v128.load(p + 2 * SCORE_PITCH));
    m1 = f32x4.pmax(m1, v128.load(p + 3 * SCORE_PITCH));
  }
  const m = f32x4.pmax(m0, m1);
  let l = v128.load(sum);
  if (v128.any_true(f32x4.gt(m, old))) {
    v128.store(max, m);
    const c = expBounded(f32x4.sub(old, m));
    l = f32x4.mul(l, c);
    let f = f32x4.extract_lane(c, 0);
    if (f != 1) rescale(o, oStride, f);
    f = f32x4.extract_lane(c, 1);
    if (f != 1) rescale(o + oStride, oStride, f);
    f = f32x4.extract_lane(c, 2);
    if (f != 1) rescale(o + 2 * oStride, oStride, f);
    f = f32x4.extract_lane(c, 3);
    if (f != 1) rescale(o + 3 * oStride, oStride, f);
  }
  let tile = f32x4.splat(0);
  for (; s < end; s += 4 * SCORE_PITCH) tile = f32x4.add(tile, exp4(s, s, SCORE_PITCH, m, true, false));
  v128.store(sum, f32x4.add(l, tile));
}

/** Folds a score tile into the state of a group of eight rows. */
export function absorb(s: usize, keys: usize, max: usize, sum: usize, o: usize, oStride: usize): void {
  absorbColumn(s, keys, max, sum, o, oStride);
  absorbColumn(s + 16, keys, max + 16, sum + 16, o + 4 * oStride, oStride);
}

/** Folds scores of one row, `bytes` (a multiple of 64) one after the other, into its state, like `absorb`. */
export function absorbRow(s: usize, bytes: usize, max: usize, sum: usize, o: usize, oStride: usize): void {
  const end = s + bytes;
  const old = load<f32>(max);
  let m0 = f32x4.splat(old), m1 = m0;
  for (let p = s; p < end; p += 64) {
    m0 = f32x4.pmax(m0, f32x4.pmax(v128.load(p), v128.load(p, 16)));
    m1 = f32x4.pmax(m1, f32x4.pmax(v128.load(p, 32), v128.load(p, 48)));
  }
  const m = reduceMax(f32x4.pmax(m0, m1));
  let l = load<f32>(sum);
  if (m > old) {
    store<f32>(max, m);
    const c = expScalar(old - m);
    l *= c;
    rescale(o, oStride, c);
  }
  const all = f32x4.splat(m);
  let tile = f32x4.splat(0);
  for (; s < end; s += 64) tile = f32x4.add(tile, exp4(s, s, 16, all, true, false));
  store<f32>(sum, l + reduceSum(tile));
}

/** Merges row state `b` into row state `a`, each (m, l, o). Has no multiply-add across the two. */
export function merge(aMax: usize, aSum: usize, a: usize, bMax: usize, bSum: usize, b: usize, bytes: usize): void {
  const ma = load<f32>(aMax), mb = load<f32>(bMax);
  const m = max(ma, mb);
  const wa = expScalar(ma - m), wb = expScalar(mb - m);
  store<f32>(aMax, m);
  store<f32>(aSum, load<f32>(aSum) * wa + load<f32>(bSum) * wb);
  const va = f32x4.splat(wa), vb = f32x4.splat(wb);
  for (let i: usize = 0; i < bytes; i += 16) v128.store(a + i, f32x4.add(f32x4.mul(v128.load(a + i), va), f32x4.mul(v128.load(b + i), vb)));
}

/** The factor that turns o into the output, given a sink (−inf: none). 0 if no key was visible. */
@inline export function finishFactor(m: f32, l: f32, sink: f32): f32 {
  if (l == 0) return 0;
  if (sink == -Infinity) return <f32>1.0 / l;
  const top = max(m, sink);
  const w = expScalar(m - top);
  return w / (l * w + expScalar(sink - top));
}

/** ln of the sum of the exponentials of all scores and the sink. */
@inline export function finishLse(m: f32, l: f32, sink: f32): f32 {
  if (l == 0) return sink;
  if (sink == -Infinity) return <f32>(<f64>m + log(<f64>l));
  const top = max(m, sink);
  return <f32>(<f64>top + log(<f64>l * <f64>expScalar(m - top) + <f64>expScalar(sink - top)));
}
