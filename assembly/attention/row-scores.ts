import { keyAt } from "./dot";
import { SCORE_ROW, TILE_KEYS } from "./layout";
import { madd } from "../simd/fma";

// S = Q · Kᵀ for few rows. Lanes are dimensions: K is read in place, 16 bytes at a time, and a score is the sum of four lanes. Each
// score has one accumulator, so its bits do not depend on how many rows and keys are computed beside it.

/** The sum of the lanes of each of four vectors: lanes (0,2) and (1,3), then both. */
@inline function sumLanes(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

/** Scores of one row × eight keys: eight accumulators. */
@inline function dot1x8(q: usize, k0: usize, k1: usize, k2: usize, k3: usize, k4: usize, k5: usize, k6: usize, k7: usize, dim: usize, s: usize): void {
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), c2 = f32x4.splat(0), c3 = f32x4.splat(0);
  let c4 = f32x4.splat(0), c5 = f32x4.splat(0), c6 = f32x4.splat(0), c7 = f32x4.splat(0);
  for (const end = q + ((dim & ~3) << 2); q < end; ) {
    const a = v128.load(q);
    c0 = madd(a, v128.load(k0), c0);
    c1 = madd(a, v128.load(k1), c1);
    c2 = madd(a, v128.load(k2), c2);
    c3 = madd(a, v128.load(k3), c3);
    c4 = madd(a, v128.load(k4), c4);
    c5 = madd(a, v128.load(k5), c5);
    c6 = madd(a, v128.load(k6), c6);
    c7 = madd(a, v128.load(k7), c7);
    q += 16;
    k0 += 16;
    k1 += 16;
    k2 += 16;
    k3 += 16;
    k4 += 16;
    k5 += 16;
    k6 += 16;
    k7 += 16;
  }
  for (const end = q + ((dim & 3) << 2); q < end; ) {
    const a = v128.load32_zero(q);
    c0 = madd(a, v128.load32_zero(k0), c0);
    c1 = madd(a, v128.load32_zero(k1), c1);
    c2 = madd(a, v128.load32_zero(k2), c2);
    c3 = madd(a, v128.load32_zero(k3), c3);
    c4 = madd(a, v128.load32_zero(k4), c4);
    c5 = madd(a, v128.load32_zero(k5), c5);
    c6 = madd(a, v128.load32_zero(k6), c6);
    c7 = madd(a, v128.load32_zero(k7), c7);
    q += 4;
    k0 += 4;
    k1 += 4;
    k2 += 4;
    k3 += 4;
    k4 += 4;
    k5 += 4;
    k6 += 4;
    k7 += 4;
  }
  v128.store(s, sumLanes(c0, c1, c2, c3));
  v128.store(s, sumLanes(c4, c5, c6, c7), 16);
}

/**
 * Scores of two rows, `qStride` and SCORE_ROW bytes apart, × four keys. Meanwhile it reads one cache line per round at `ahead`, as
 * WebAssembly has no prefetch; `step` is 64, or 0 to read nothing new. Returns what it read, so that the reads are not optimized away.
 */
@inline function dot2x4(q: usize, qStride: usize, k0: usize, k1: usize, k2: usize, k3: usize, dim: usize, s: usize, ahead: usize, step: usize): i32 {
  let seen = 0;
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c02 = f32x4.splat(0), c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0), c12 = f32x4.splat(0), c13 = f32x4.splat(0);
  let r = q + qStride;
  for (const end = q + ((dim & ~3) << 2); q < end; ) {
    const a = v128.load(q), b = v128.load(r);
    let k = v128.load(k0);
    c00 = madd(a, k, c00);
    c10 = madd(b, k, c10);
    k = v128.load(k1);
    c01 = madd(a, k, c01);
    c11 = madd(b, k, c11);
    k = v128.load(k2);
    c02 = madd(a, k, c02);
    c12 = madd(b, k, c12);
    k = v128.load(k3);
    c03 = madd(a, k, c03);
    c13 = madd(b, k, c13);
    seen |= load<i32>(ahead);
    ahead += step;
    q += 16;
    r += 16;
    k0 += 16;
    k1 += 16;
    k2 += 16;
    k3 += 16;
  }
  for (const end = q + ((dim & 3) << 2); q < end; ) {
    const a = v128.load32_zero(q), b = v128.load32_zero(r);
    let k = v128.load32_zero(k0);
    c00 = madd(a, k, c00);
    c10 = madd(b, k, c10);
    k = v128.load32_zero(k1);
    c01 = madd(a, k, c01);
    c11 = madd(b, k, c11);
    k = v128.load32_zero(k2);
    c02 = madd(a, k, c02);
    c12 = madd(b, k, c12);
    k = v128.load32_zero(k3);
    c03 = madd(a, k, c03);
    c13 = madd(b, k, c13);
    q += 4;
    r += 4;
    k0 += 4;
    k1 += 4;
    k2 += 4;
    k3 += 4;
  }
  v128.store(s, sumLanes(c00, c01, c02, c03));
  v128.store(s + SCORE_ROW, sumLanes(c10, c11, c12, c13));
  return seen;
}

/**
 * Scores of `rows` packed queries, `dim` elements each, for the keys `from` … `to` of one tile, which go to their places in rows of 64
 * scores at `s`. Places up to the next multiple of eight may be written too, but no other key is used.
 *
 * Three rows and more compute long enough on each key that memory would idle. So they read the next keys before `ahead`, and these
 * keys' values, into the cache; `ahead` is 0 if keys and values differ in size or have gaps. Returns what it read ahead, to be stored
 * anywhere.
 */
export function scoreRows(q: usize, rows: usize, dim: usize, k: usize, stride: usize, from: usize, to: usize, s: usize, v: usize, ahead: usize): i32 {
  const qStride = dim << 2;
  let seen = 0;
  if (rows > 1) {
    for (let j = from & ~3; j < to; j += 4) {
      let k0 = k + j * stride, k1 = k0 + stride, k2 = k1 + stride, k3 = k2 + stride;
      const next = k3 + stride;
      if (j < from || j + 4 > to) {
        k0 = keyAt(k, stride, j, from, to);
        k1 = keyAt(k, stride, j + 1, from, to);
        k2 = keyAt(k, stride, j + 2, from, to);
        k3 = keyAt(k, stride, j + 3, from, to);
      }
      const step: usize = rows > 2 && j >= from && j + 8 <= ahead ? 64 : 0;
      let place = step ? v + j * stride : q;
      for (let r: usize = 0; r + 2 <= rows; r += 2) {
        seen |= dot2x4(q + r * qStride, qStride, k0, k1, k2, k3, dim, s + r * SCORE_ROW + ((j & (TILE_KEYS - 1)) << 2), place, step);
        if (step) place = next;
      }
    }
  }
  if (rows & 1) {
    q += (rows - 1) * qStride;
    s += (rows - 1) * SCORE_ROW;
    for (let j = from & ~7; j < to; j += 8) {
      let k0 = k + j * stride, k1 = k0 + stride, k2 = k1 + stride, k3 = k2 + stride;
      let k4 = k3 + stride, k5 = k4 + stride, k6 = k5 + stride, k7 = k6 + stride;
      if (j < from || j + 8 > to) {
        k0 = keyAt(k, stride, j, from, to);
        k1 = keyAt(k, stride, j + 1, from, to);
        k2 = keyAt(k, stride, j + 2, from, to);
        k3 = keyAt(k, stride, j + 3, from, to);
        k4 = keyAt(k, stride, j + 4, from, to);
        k5 = keyAt(k, stride, j + 5, from, to);
        k6 = keyAt(k, stride, j + 6, from, to);
        k7 = keyAt(k, stride, j + 7, from, to);
      }
      dot1x8(q, k0, k1, k2, k3, k4, k5, k6, k7, dim, s + ((j & (TILE_KEYS - 1)) << 2));
    }
  }
  return seen;
}
