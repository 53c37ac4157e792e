import { madd } from "../simd/fma";
import { SCORE_PITCH } from "./layout";

/** O += P · V for four rows × eight columns over `keys` keys. */
@inline function multiply4x8(p: usize, v: usize, vStride: usize, o: usize, oStride: usize, keys: usize): void {
  const o1 = o + oStride, o2 = o1 + oStride, o3 = o2 + oStride;
  let c00 = v128.load(o), c01 = v128.load(o, 16), c10 = v128.load(o1), c11 = v128.load(o1, 16);
  let c20 = v128.load(o2), c21 = v128.load(o2, 16), c30 = v128.load(o3), c31 = v128.load(o3, 16);
  const end = p + keys * SCORE_PITCH;
  do {
    const b0 = v128.load(v), b1 = v128.load(v, 16);
    let a = v128.load32_splat(p);
    c00 = madd(a, b0, c00);
    c01 = madd(a, b1, c01);
    a = v128.load32_splat(p, 4);
    c10 = madd(a, b0, c10);
    c11 = madd(a, b1, c11);
    a = v128.load32_splat(p, 8);
    c20 = madd(a, b0, c20);
    c21 = madd(a, b1, c21);
    a = v128.load32_splat(p, 12);
    c30 = madd(a, b0, c30);
    c31 = madd(a, b1, c31);
    v += vStride;
    p += SCORE_PITCH;
  } while (p < end);
  v128.store(o, c00);
  v128.store(o, c01, 16);
  v128.store(o1, c10);
  v128.store(o1, c11, 16);
  v128.store(o2, c20);
  v128.store(o2, c21, 16);
  v128.store(o3, c30);
  v128.store(o3, c31, 16);
}

/** O += P · V for a group of eight rows, over `columns` bytes of V, a multiple of 32. */
function multiply(p: usize, v: usize, vStride: usize, columns: usize, o: usize, oStride: usize, keys: usize): void {
  for (let d: usize = 0; d < columns; d += 32) {
    multiply4x8(p, v + d, vStride, o + d, oStride, keys);
    multiply4x8(p + 16, v + d, vStride, o + 4 * oStride + d, oStride, keys);
  }
}

/**
 * O += P · V for one group of rows. Columns beyond the last full eight come from `tail`, a copy padded with zeros, 32 bytes per
 * key.
 */
export function accumulate(p: usize, v: usize, vStride: usize, valueDim: usize, tail: usize, o: usize, oStride: usize, keys: usize): void {
  const whole = (valueDim & ~7) << 2;
  multiply(p, v, vStride, whole, o, oStride, keys);
  if (valueDim & 7) multiply(p, tail, 32, 32, o + whole, oStride, keys);
}

/** Copies the columns of V beyond the last full eight, for the keys `from` … `to` of a tile, padded with zeros. */
export function packValueTail(v: usize, vStride: usize, valueDim: usize, from: usize, to: usize, tail: usize): void {
  const whole = valueDim & ~7;
  const left = valueDim & 7;
  for (let j = from; j < to; j++) {
    const src = v + j * vStride + (whole << 2);
    const dst = tail + ((j & 63) << 5);
    for (let c: usize = 0; c < 8; c++) store<f32>(dst + (c << 2), c < left ? load<f32>(src + (c << 2)) : 0);
  }
}
