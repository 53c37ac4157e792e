// Rows of 8-bit integers with a scale for each: a value is an integer times its row's scale. Rows lie without gaps, scales are f32.

/**
 * f32 from i8. Goes upwards and reads before it writes, four numbers at a time: `src` may be the last quarter of `dst`.
 */
export function f32_from_i8(src: usize, dst: usize, rows: usize, cols: usize, scales: usize): void {
  for (const end = scales + (rows << 2); scales < end; scales += 4) {
    const scale = v128.load32_splat(scales);
    const whole = dst + ((cols & ~3) << 2), rowEnd = dst + (cols << 2);
    for (; dst < whole; src += 4, dst += 16) {
      const x = i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(src)));
      v128.store(dst, f32x4.mul(f32x4.convert_i32x4_s(x), scale));
    }
    for (; dst < rowEnd; src++, dst += 4) store<f32>(dst, <f32>load<i8>(src) * f32x4.extract_lane(scale, 0));
  }
}

/**
 * i8 from f32, rounded to nearest even, with scale = max|row| / 127. Writes the scales too; that of a row with NaN or infinity is not finite. `dst` may be `src`.
 */
export function i8_from_f32(src: usize, dst: usize, rows: usize, cols: usize, scales: usize): void {
  for (const end = scales + (rows << 2); scales < end; scales += 4) {
    let most: f32 = 0;
    for (let c: usize = 0; c < cols; c++) most = max(most, abs(load<f32>(src + (c << 2))));
    const scale: f32 = most / 127;
    store<f32>(scales, scale);
    for (let c: usize = 0; c < cols; c++, src += 4, dst++) {
      // A scale that has underflowed is too small by up to its rounding: stay within 127.
      const x = scale == 0 ? <f32>0 : nearest(load<f32>(src) / scale);
      store<i8>(dst, <i8>max(min(x, 127), -127));
    }
  }
}
