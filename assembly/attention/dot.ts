import { madd } from "../simd/fma";
import { SCORE_PITCH } from "./layout";

// Sᵀ = K · Qᵀ for a few keys at a time. Lanes are rows (queries), so K is read in place, broadcasting one element at a time, and
// max and sum over keys need no shuffles later. Queries are packed [dimension][rows].

/** Scores of four keys × eight rows: eight accumulators, two packed vectors, one broadcast. */
@inline function dot4x8(q: usize, k0: usize, k1: usize, k2: usize, k3: usize, dimBytes: usize, s: usize): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  const end = k0 + dimBytes;
  do {
    const q0 = v128.load(q), q1 = v128.load(q, 16);
    let a = v128.load32_splat(k0);
    c00 = madd(a, q0, c00);
    c01 = madd(a, q1, c01);
    a = v128.load32_splat(k1);
    c10 = madd(a, q0, c10);
    c11 = madd(a, q1, c11);
    a = v128.load32_splat(k2);
    c20 = madd(a, q0, c20);
    c21 = madd(a, q1, c21);
    a = v128.load32_splat(k3);
    c30 = madd(a, q0, c30);
    c31 = madd(a, q1, c31);
    k0 += 4;
    k1 += 4;
    k2 += 4;
    k3 += 4;
    q += 32;
  } while (k0 < end);
  v128.store(s, c00);
  v128.store(s, c01, 16);
  v128.store(s, c10, 32);
  v128.store(s, c11, 48);
  v128.store(s, c20, 64);
  v128.store(s, c21, 80);
  v128.store(s, c30, 96);
  v128.store(s, c31, 112);
}

/** A key's address, clamped to the visible range: at the edges of a tile this computes a neighbour's score, which is masked later. */
@inline export function keyAt(k: usize, stride: usize, key: usize, low: usize, high: usize): usize {
  return k + min(max(key, low), high - 1) * stride;
}

/**
 * Scores of the keys `from` … `to` (from a multiple of four, rounded up to four) against one group of eight rows. Keys outside
 * `low` … `high` are not read.
 */
export function scoreTile(q: usize, k: usize, stride: usize, dim: usize, from: usize, to: usize, low: usize, high: usize, s: usize): void {
  const dimBytes = dim << 2;
  for (let j = from; j < to; j += 4, s += 4 * SCORE_PITCH) {
    if (j >= low && j + 4 <= high) {
      const k0 = k + j * stride;
      dot4x8(q, k0, k0 + stride, k0 + 2 * stride, k0 + 3 * stride, dimBytes, s);
    } else {
      const k0 = keyAt(k, stride, j, low, high), k1 = keyAt(k, stride, j + 1, low, high);
      const k2 = keyAt(k, stride, j + 2, low, high), k3 = keyAt(k, stride, j + 3, low, high);
      dot4x8(q, k0, k1, k2, k3, dimBytes, s);
    }
  }
}
