import { fromBf16, fromF16, toBf16, toF16 } from "../simd/half";

// Conversions of `count` 16-bit floats. Each goes upwards and reads before it writes, four numbers at a time: from 16 bits, `src` may be the
// upper half of `dst`, and to 16 bits it may be `dst` itself.

@inline function toF32(src: usize, dst: usize, count: usize, BRAIN: bool): void {
  const whole = dst + ((count & ~3) << 2), end = dst + (count << 2);
  for (; dst < whole; src += 8, dst += 16) {
    const bits = v128.load16x4_u(src);
    v128.store(dst, BRAIN ? fromBf16(bits) : fromF16(bits));
  }
  for (; dst < end; src += 2, dst += 4) {
    const bits = i32x4.splat(load<u16>(src));
    v128.store_lane<f32>(dst, BRAIN ? fromBf16(bits) : fromF16(bits), 0);
  }
}

@inline function fromF32(src: usize, dst: usize, count: usize, BRAIN: bool): void {
  const whole = src + ((count & ~3) << 2), end = src + (count << 2);
  for (; src < whole; src += 16, dst += 8) {
    const x = v128.load(src);
    const bits = BRAIN ? toBf16(x) : toF16(x);
    v128.store_lane<i64>(dst, i16x8.narrow_i32x4_u(bits, bits), 0);
  }
  for (; src < end; src += 4, dst += 2) {
    const x = v128.load32_splat(src);
    store<u16>(dst, i32x4.extract_lane(BRAIN ? toBf16(x) : toF16(x), 0));
  }
}

/** f32 from f16. */
export function f32_from_f16(src: usize, dst: usize, count: usize): void {
  toF32(src, dst, count, false);
}

/** f32 from bf16. */
export function f32_from_bf16(src: usize, dst: usize, count: usize): void {
  toF32(src, dst, count, true);
}

/** f16 from f32, rounded to nearest even. */
export function f16_from_f32(src: usize, dst: usize, count: usize): void {
  fromF32(src, dst, count, false);
}

/** bf16 from f32, rounded to nearest even. */
export function bf16_from_f32(src: usize, dst: usize, count: usize): void {
  fromF32(src, dst, count, true);
}
