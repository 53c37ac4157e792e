import { exp4, expBounded, exp } from "../math/exp";
import { LOWEST, FLOOR, constant } from "../simd/constants";
import { reduceMax, reduceSum } from "../simd/reduce";
import { loadUpTo16, storeUpTo16 } from "../simd/tail";

// The verbs of a row: max, exp-and-sum, scale, each over one block of consecutive f32. Every loop has the same shape: four
// vectors at a time, then one at a time, the last one padded.

/** Bytes per block: 1024 elements. A block, the next block and its output fit in the first-level cache together. */
export const BLOCK: usize = 4096;
/** Below it, ln of a sum with a 1 in it is too small for the sum's error of 1e-7 to be one of 1e-6 relative. */
const DOMINATED: f32 = 1.125;

/** Largest of `bytes` at `x`, at least FLOOR. Skips NaN, which still reaches the result through the sum. */
export function blockMax(x: usize, bytes: usize): f32 {
  let m0 = constant(LOWEST), m1 = m0, m2 = m0, m3 = m0;
  const end = x + bytes;
  for (const main = x + (bytes & ~63); x < main; x += 64) {
    m0 = f32x4.pmax(m0, v128.load(x));
    m1 = f32x4.pmax(m1, v128.load(x, 16));
    m2 = f32x4.pmax(m2, v128.load(x, 32));
    m3 = f32x4.pmax(m3, v128.load(x, 48));
  }
  for (; x < end; x += 16) m0 = f32x4.pmax(m0, loadUpTo16(x, end - x, m0));
  return reduceMax(f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3)));
}

/** The max that `blockExpNext` found in the next block. */
export let nextMax: f32 = FLOOR;

/** `y = exp(x − shift)` over `bytes`, on all of f32: may overflow. Returns the sum. */
export function blockExpFull(x: usize, y: usize, bytes: usize, shift: f32): f32 {
  return expLoop(x, y, bytes, shift, 0, true, true, false);
}

/** `y = exp(x − max)` over `bytes`, where `max` is their largest element. Returns the sum. */
export function blockExp(x: usize, y: usize, bytes: usize, max: f32): f32 {
  return expLoop(x, y, bytes, max, 0, true, false, false);
}

/**
 * Like blockExp, and also puts the max of as many bytes at `next` into `nextMax`. The loads of the next block hide behind the
 * arithmetic of this one, which is what makes the online pass a single one. Inlined: a call would cost rows of ten elements 4%.
 */
@inline export function blockExpNext(x: usize, y: usize, bytes: usize, max: f32, next: usize): f32 {
  return expLoop(x, y, bytes, max, next, true, false, true);
}

/** Like blockExpNext, but stores nothing. */
export function blockExpSumNext(x: usize, bytes: usize, max: f32, next: usize): f32 {
  return expLoop(x, 0, bytes, max, next, false, false, true);
}

/** The loop of the four functions above. The flags are constants and cost nothing at run time. */
@inline function expLoop(x: usize, y: usize, bytes: usize, max: f32, next: usize, STORE: bool, FULL: bool, NEXT: bool): f32 {
  const m = f32x4.splat(max);
  const end = x + bytes;
  let sum = f32x4.splat(0);
  let ahead = constant(LOWEST);
  const main = x + (bytes & ~63);
  let partial = f32x4.splat(0);
  for (; x < main; x += 64) {
    partial = f32x4.add(partial, exp4(x, y, 16, m, STORE, FULL));
    if (NEXT) {
      ahead = f32x4.pmax(ahead, f32x4.pmax(f32x4.pmax(v128.load(next), v128.load(next, 16)), f32x4.pmax(v128.load(next, 32), v128.load(next, 48))));
      next += 64;
    }
    if (STORE) y += 64;
    // A partial sum every 512 bytes: adding equal numbers to one accumulator 64 times would lose a digit.
    if (!((main - x - 64) & 511)) {
      sum = f32x4.add(sum, partial);
      partial = f32x4.splat(0);
    }
  }
  // −inf in the padding lanes of the last vector: their exponential is exactly 0.
  const pad = f32x4.splat(-Infinity);
  while (x < end) {
    const bytesLeft = end - x;
    const v = f32x4.sub(loadUpTo16(x, bytesLeft, pad), m);
    const e = FULL ? exp(v) : expBounded(v);
    sum = f32x4.add(sum, e);
    if (STORE) storeUpTo16(y, bytesLeft, e);
    if (STORE) y += 16;
    if (NEXT) ahead = f32x4.pmax(ahead, loadUpTo16(next, bytesLeft, pad));
    if (NEXT) next += 16;
    x += 16;
  }
  if (NEXT) nextMax = reduceMax(ahead);
  return reduceSum(sum);
}

/**
 * Σ exp(x − max) over `bytes` without the max's own 1, given the whole `sum` as computed. Where one element has nearly all of it, the
 * others' digits are lost beside the 1, so those before it and those behind it are summed again. Leaves something else in `nextMax`.
 */
export function blockRest(x: usize, bytes: usize, max: f32, sum: f32): f64 {
  if (!(sum >= 1 && sum < DOMINATED)) return <f64>sum - 1.0;
  let at = x;
  while (load<f32>(at) != max) at += 4;
  return <f64>blockExpSumNext(x, at - x, max, x) + <f64>blockExpSumNext(at + 4, x + bytes - at - 4, max, x);
}

/** `y = y · factor` over `bytes`. */
export function blockScale(y: usize, bytes: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  const end = y + bytes;
  for (const main = y + (bytes & ~63); y < main; y += 64) {
    v128.store(y, f32x4.mul(v128.load(y), f));
    v128.store(y, f32x4.mul(v128.load(y, 16), f), 16);
    v128.store(y, f32x4.mul(v128.load(y, 32), f), 32);
    v128.store(y, f32x4.mul(v128.load(y, 48), f), 48);
  }
  for (; y < end; y += 16) storeUpTo16(y, end - y, f32x4.mul(loadUpTo16(y, end - y, f), f));
}

/** `y = (x − max) − shift` over `bytes`. */
@inline export function blockShift(x: usize, y: usize, bytes: usize, max: f32, shift: f32): void {
  const m = f32x4.splat(max), s = f32x4.splat(shift);
  const end = x + bytes;
  for (const main = x + (bytes & ~63); x < main; x += 64, y += 64) {
    v128.store(y, f32x4.sub(f32x4.sub(v128.load(x), m), s));
    v128.store(y, f32x4.sub(f32x4.sub(v128.load(x, 16), m), s), 16);
    v128.store(y, f32x4.sub(f32x4.sub(v128.load(x, 32), m), s), 32);
    v128.store(y, f32x4.sub(f32x4.sub(v128.load(x, 48), m), s), 48);
  }
  for (; x < end; x += 16, y += 16) storeUpTo16(y, end - x, f32x4.sub(f32x4.sub(loadUpTo16(x, end - x, m), m), s));
}

/** Whether any of `bytes` at `x` is NaN. Only called for rows with a +inf. */
export function blockHasNaN(x: usize, bytes: usize): bool {
  for (const end = x + bytes; x < end; x += 4) {
    const v = load<f32>(x);
    if (v != v) return true;
  }
  return false;
}

/** 1/sum, or 0 for an empty sum if `safe`. */
@inline export function reciprocal(sum: f64, safe: bool): f32 {
  return safe && sum == 0 ? 0 : <f32>(1.0 / sum);
}
