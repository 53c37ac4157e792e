import { madd } from "../simd/fma";

// Sᵀ = K · Qᵀ for a few keys at a time. Lanes are rows (queries), so K is read in place, broadcasting one element at a time, and
// max and sum over keys need no shuffles later. Queries are packed [dimension][rows].

/** Scores of four keys × eight rows: eight accumulators, two packed vectors, one broadcast. */
@inline export function dot4x8(q: usize, k0: usize, k1: usize, k2: usize, k3: usize, dimBytes: usize, s: usize): void {
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

/** Scores of four keys × four rows, for a block of at most four rows. */
@inline export function dot4x4(q: usize, k0: usize, k1: usize, k2: usize, k3: usize, dimBytes: usize, s: usize): void {
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), c2 = f32x4.splat(0), c3 = f32x4.splat(0);
  const end = k0 + dimBytes;
  do {
    const b = v128.load(q);
    c0 = madd(v128.load32_splat(k0), b, c0);
    c1 = madd(v128.load32_splat(k1), b, c1);
    c2 = madd(v128.load32_splat(k2), b, c2);
    c3 = madd(v128.load32_splat(k3), b, c3);
    k0 += 4;
    k1 += 4;
    k2 += 4;
    k3 += 4;
    q += 16;
  } while (k0 < end);
  v128.store(s, c0);
  v128.store(s, c1, 16);
  v128.store(s, c2, 32);
  v128.store(s, c3, 48);
}

/**
 * Scores of eight keys × four rows: twice as many independent chains as dot4x4, two dimensions per round. Meanwhile it reads one
 * cache line per round at each of `ahead0` and `ahead1`: WebAssembly has no prefetch, and these loops alone do not run far
 * enough ahead of memory. `step` is 64, or 0 to read nothing new. Returns what it read, so that the reads are not optimized away.
 */
@inline function dot8x4(q: usize, k0: usize, stride: usize, dim: usize, s: usize, ahead0: usize, ahead1: usize, step: usize): v128 {
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), c2 = f32x4.splat(0), c3 = f32x4.splat(0);
  let c4 = f32x4.splat(0), c5 = f32x4.splat(0), c6 = f32x4.splat(0), c7 = f32x4.splat(0);
  let k1 = k0 + stride, k2 = k1 + stride, k3 = k2 + stride, k4 = k3 + stride, k5 = k4 + stride, k6 = k5 + stride, k7 = k6 + stride;
  let seen = f32x4.splat(0);
  for (const end = k0 + ((dim & ~1) << 2); k0 < end; ) {
    let b = v128.load(q);
    c0 = madd(v128.load32_splat(k0), b, c0);
    c1 = madd(v128.load32_splat(k1), b, c1);
    c2 = madd(v128.load32_splat(k2), b, c2);
    c3 = madd(v128.load32_splat(k3), b, c3);
    c4 = madd(v128.load32_splat(k4), b, c4);
    c5 = madd(v128.load32_splat(k5), b, c5);
    c6 = madd(v128.load32_splat(k6), b, c6);
    c7 = madd(v128.load32_splat(k7), b, c7);
    b = v128.load(q, 16);
    c0 = madd(v128.load32_splat(k0, 4), b, c0);
    c1 = madd(v128.load32_splat(k1, 4), b, c1);
    c2 = madd(v128.load32_splat(k2, 4), b, c2);
    c3 = madd(v128.load32_splat(k3, 4), b, c3);
    c4 = madd(v128.load32_splat(k4, 4), b, c4);
    c5 = madd(v128.load32_splat(k5, 4), b, c5);
    c6 = madd(v128.load32_splat(k6, 4), b, c6);
    c7 = madd(v128.load32_splat(k7, 4), b, c7);
    seen = v128.or(seen, v128.or(v128.load32_zero(ahead0), v128.load32_zero(ahead1)));
    k0 += 8;
    k1 += 8;
    k2 += 8;
    k3 += 8;
    k4 += 8;
    k5 += 8;
    k6 += 8;
    k7 += 8;
    q += 32;
    ahead0 += step;
    ahead1 += step;
  }
  if (dim & 1) {
    const b = v128.load(q);
    c0 = madd(v128.load32_splat(k0), b, c0);
    c1 = madd(v128.load32_splat(k1), b, c1);
    c2 = madd(v128.load32_splat(k2), b, c2);
    c3 = madd(v128.load32_splat(k3), b, c3);
    c4 = madd(v128.load32_splat(k4), b, c4);
    c5 = madd(v128.load32_splat(k5), b, c5);
    c6 = madd(v128.load32_splat(k6), b, c6);
    c7 = madd(v128.load32_splat(k7), b, c7);
  }
  v128.store(s, c0);
  v128.store(s, c1, 16);
  v128.store(s, c2, 32);
  v128.store(s, c3, 48);
  v128.store(s, c4, 64);
  v128.store(s, c5, 80);
  v128.store(s, c6, 96);
  v128.store(s, c7, 112);
  return seen;
}

/** A key's address, clamped to the visible range: at the edges of a tile this computes a neighbour's score, which is masked later. */
@inline function keyAt(k: usize, stride: usize, key: usize, low: usize, high: usize): usize {
  return k + min(max(key, low), high - 1) * stride;
}

/**
 * Scores of the keys `from` … `to` (from a multiple of four, rounded up to four) against one group of `pitch / 4` rows.
 * Keys outside `low` … `high` are not read. Meanwhile it reads the next keys before `ahead`, and these keys' values, into the cache.
 * `ahead` is 0 if keys and values differ in size or have gaps. Returns what it read ahead, to be stored anywhere.
 */
export function scoreTile(q: usize, k: usize, stride: usize, dim: usize, from: usize, to: usize, low: usize, high: usize, s: usize, pitch: usize, v: usize, ahead: usize): v128 {
  const dimBytes = dim << 2;
  let seen = f32x4.splat(0);
  for (let j = from; j < to; j += 4, s += pitch << 2) {
    if (j >= low && j + 4 <= high) {
      const k0 = k + j * stride;
      if (pitch == 32) {
        dot4x8(q, k0, k0 + stride, k0 + 2 * stride, k0 + 3 * stride, dimBytes, s);
      } else if (j + 8 <= to && j + 8 <= high) {
        const next = j + 16 <= ahead;
        seen = v128.or(seen, dot8x4(q, k0, stride, dim, s, next ? k0 + 8 * stride : q, next ? v + j * stride : q, next ? 64 : 0));
        j += 4;
        s += pitch << 2;
      } else {
        dot4x4(q, k0, k0 + stride, k0 + 2 * stride, k0 + 3 * stride, dimBytes, s);
      }
    } else {
      const k0 = keyAt(k, stride, j, low, high), k1 = keyAt(k, stride, j + 1, low, high);
      const k2 = keyAt(k, stride, j + 2, low, high), k3 = keyAt(k, stride, j + 3, low, high);
      if (pitch == 32) dot4x8(q, k0, k1, k2, k3, dimBytes, s);
      else dot4x4(q, k0, k1, k2, k3, dimBytes, s);
    }
  }
  return seen;
}
