import { SCORE_ROW } from "./layout";
import { madd } from "../simd/fma";

// O += P · V for few rows, whose weights lie key after key. A tile's products are summed by themselves and added to the accumulator
// once, so that errors do not grow with the number of keys.

/** One row × 4 · VECTORS columns: eight, four or two accumulators. */
@inline function multiply1(p: usize, v: usize, vStride: usize, o: usize, keys: usize, VECTORS: i32): void {
  let c0 = f32x4.splat(0), c1 = f32x4.splat(0), c2 = f32x4.splat(0), c3 = f32x4.splat(0);
  let c4 = f32x4.splat(0), c5 = f32x4.splat(0), c6 = f32x4.splat(0), c7 = f32x4.splat(0);
  for (const end = p + (keys << 2); p < end; ) {
    const a = v128.load32_splat(p);
    c0 = madd(a, v128.load(v), c0);
    c1 = madd(a, v128.load(v, 16), c1);
    if (VECTORS > 2) {
      c2 = madd(a, v128.load(v, 32), c2);
      c3 = madd(a, v128.load(v, 48), c3);
    }
    if (VECTORS > 4) {
      c4 = madd(a, v128.load(v, 64), c4);
      c5 = madd(a, v128.load(v, 80), c5);
      c6 = madd(a, v128.load(v, 96), c6);
      c7 = madd(a, v128.load(v, 112), c7);
    }
    p += 4;
    v += vStride;
  }
  add(o, c0);
  add(o + 16, c1);
  if (VECTORS > 2) {
    add(o + 32, c2);
    add(o + 48, c3);
  }
  if (VECTORS > 4) {
    add(o + 64, c4);
    add(o + 80, c5);
    add(o + 96, c6);
    add(o + 112, c7);
  }
}

/** Two rows × 4 · VECTORS columns: eight or four accumulators. */
@inline function multiply2(p: usize, v: usize, vStride: usize, o: usize, oStride: usize, keys: usize, VECTORS: i32): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c02 = f32x4.splat(0), c03 = f32x4.splat(0);
  let c10 = f32x4.splat(0), c11 = f32x4.splat(0), c12 = f32x4.splat(0), c13 = f32x4.splat(0);
  for (const end = p + (keys << 2); p < end; ) {
    const a = v128.load32_splat(p), b = v128.load32_splat(p, SCORE_ROW);
    let x = v128.load(v);
    c00 = madd(a, x, c00);
    c10 = madd(b, x, c10);
    x = v128.load(v, 16);
    c01 = madd(a, x, c01);
    c11 = madd(b, x, c11);
    if (VECTORS > 2) {
      x = v128.load(v, 32);
      c02 = madd(a, x, c02);
      c12 = madd(b, x, c12);
      x = v128.load(v, 48);
      c03 = madd(a, x, c03);
      c13 = madd(b, x, c13);
    }
    p += 4;
    v += vStride;
  }
  add(o, c00);
  add(o + 16, c01);
  add(o + oStride, c10);
  add(o + oStride + 16, c11);
  if (VECTORS > 2) {
    add(o + 32, c02);
    add(o + 48, c03);
    add(o + oStride + 32, c12);
    add(o + oStride + 48, c13);
  }
}

@inline function add(o: usize, c: v128): void {
  v128.store(o, f32x4.add(v128.load(o), c));
}

/** 4 · VECTORS columns of all rows: two rows at a time, then one. */
@inline function multiply(p: usize, rows: usize, v: usize, vStride: usize, o: usize, oStride: usize, keys: usize, VECTORS: i32): void {
  for (; rows >= 2; rows -= 2, p += 2 * SCORE_ROW, o += 2 * oStride) multiply2(p, v, vStride, o, oStride, keys, VECTORS);
  if (rows) multiply1(p, v, vStride, o, keys, VECTORS);
}

/** Eight columns of all rows: a function, because the last columns need it too. */
function multiplyEight(p: usize, rows: usize, v: usize, vStride: usize, o: usize, oStride: usize, keys: usize): void {
  multiply(p, rows, v, vStride, o, oStride, keys, 2);
}

/**
 * O += P · V for `rows` rows over `keys` keys. The weights of a row are SCORE_ROW bytes from those of the next. Columns beyond the last
 * full eight come from `tail` (packValueTail).
 */
export function accumulateRows(p: usize, rows: usize, v: usize, vStride: usize, valueDim: usize, tail: usize, o: usize, oStride: usize, keys: usize): void {
  let left = valueDim >> 3;
  if (rows == 1) {
    for (; left >= 4; left -= 4, v += 128, o += 128) multiply1(p, v, vStride, o, keys, 8);
  }
  for (; left >= 2; left -= 2, v += 64, o += 64) multiply(p, rows, v, vStride, o, oStride, keys, 4);
  if (left) {
    multiplyEight(p, rows, v, vStride, o, oStride, keys);
    o += 32;
  }
  if (valueDim & 7) multiplyEight(p, rows, tail, 32, o, oStride, keys);
}
