/** Like `modify_f32`, for f64. */
export function modify_f64(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scale: f64, bias: usize, biasStride: usize, mask: usize, maskStride: usize): void {
  for (; rows > 0; rows--, x += xStride, y += yStride, bias += biasStride, mask += maskStride) {
    for (let i: usize = 0; i < cols; i++) {
      let v = load<f64>(x + (i << 3)) * scale;
      if (bias) v += load<f64>(bias + (i << 3));
      if (mask && !load<u8>(mask + i)) v = -Infinity;
      store<f64>(y + (i << 3), v);
    }
  }
}
