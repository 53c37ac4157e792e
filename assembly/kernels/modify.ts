import { loadUpTo16, storeUpTo16 } from "../simd/tail";

/** All ones in lanes whose mask byte is not zero. Reads `count` bytes, at most four. */
@inline function keepLanes(mask: usize, count: usize): v128 {
  let bytes: u32;
  if (count >= 4) {
    bytes = load<u32>(mask);
  } else {
    bytes = load<u8>(mask);
    if (count > 1) bytes |= <u32>load<u8>(mask, 1) << 8;
    if (count > 2) bytes |= <u32>load<u8>(mask, 2) << 16;
  }
  return i32x4.ne(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(i32x4.splat(bytes))), i32x4.splat(0));
}

/**
 * `y = keep ? x · scale + bias : −inf` for `rows` rows of `cols` f32. `bias` and `mask` are 0 if absent, else rows of f32
 * and of bytes, whose strides may be 0 (one row for all). Values that the mask removes have no effect, not even NaN.
 * Strides are in bytes; `y` may be `x`.
 */
export function modify_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scale: f32, bias: usize, biasStride: usize, mask: usize, maskStride: usize): void {
  const factor = f32x4.splat(scale);
  const removed = f32x4.splat(-Infinity);
  const bytes = cols << 2;
  for (; rows > 0; rows--, x += xStride, y += yStride, bias += biasStride, mask += maskStride) {
    let i: usize = 0;
    if (!bias && !mask) {
      for (; i + 64 <= bytes; i += 64) {
        v128.store(y + i, f32x4.mul(v128.load(x + i), factor));
        v128.store(y + i, f32x4.mul(v128.load(x + i, 16), factor), 16);
        v128.store(y + i, f32x4.mul(v128.load(x + i, 32), factor), 32);
        v128.store(y + i, f32x4.mul(v128.load(x + i, 48), factor), 48);
      }
    }
    for (; i < bytes; i += 16) {
      const bytesLeft = bytes - i;
      let v = f32x4.mul(loadUpTo16(x + i, bytesLeft, factor), factor);
      if (bias) v = f32x4.add(v, loadUpTo16(bias + i, bytesLeft, factor));
      if (mask) v = v128.bitselect(v, removed, keepLanes(mask + (i >> 2), bytesLeft >> 2));
      storeUpTo16(y + i, bytesLeft, v);
    }
  }
}
