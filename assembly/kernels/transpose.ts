import { transpose4x4 } from "../simd/transpose";

/** `dst[c][r] = src[r][c]` for `rows` × `cols` f32, in blocks of 4 × 4. Strides (of rows, in bytes) may exceed the row. */
export function transpose_f32(src: usize, dst: usize, rows: usize, cols: usize, srcStride: usize, dstStride: usize): void {
  let r: usize = 0;
  for (; r + 4 <= rows; r += 4) {
    const s0 = src + r * srcStride, s1 = s0 + srcStride, s2 = s1 + srcStride, s3 = s2 + srcStride;
    let d = dst + (r << 2);
    let c: usize = 0;
    for (; c + 4 <= cols; c += 4, d += dstStride << 2) {
      const o = c << 2;
      transpose4x4(s0 + o, s1 + o, s2 + o, s3 + o, d, dstStride);
    }
    for (; c < cols; c++, d += dstStride) {
      const o = c << 2;
      store<f32>(d, load<f32>(s0 + o));
      store<f32>(d, load<f32>(s1 + o), 4);
      store<f32>(d, load<f32>(s2 + o), 8);
      store<f32>(d, load<f32>(s3 + o), 12);
    }
  }
  for (; r < rows; r++) {
    for (let c: usize = 0; c < cols; c++) store<f32>(dst + c * dstStride + (r << 2), load<f32>(src + r * srcStride + (c << 2)));
  }
}
