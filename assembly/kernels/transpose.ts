/**
 * `dst[c][r] = src[r][c]` for `rows` × `cols` f32, in blocks of 4 × 4. Strides (of rows, in bytes) may exceed the row.
 *
 *   a b c d        a e i m
 *   e f g h   →    b f j n
 *   i j k l        c g k o
 *   m n o p        d h l p
 */
export function transpose_f32(src: usize, dst: usize, rows: usize, cols: usize, srcStride: usize, dstStride: usize): void {
  let r: usize = 0;
  for (; r + 4 <= rows; r += 4) {
    const s0 = src + r * srcStride, s1 = s0 + srcStride, s2 = s1 + srcStride, s3 = s2 + srcStride;
    let d = dst + (r << 2);
    let c: usize = 0;
    for (; c + 4 <= cols; c += 4, d += dstStride << 2) {
      const o = c << 2;
      const v0 = v128.load(s0 + o), v1 = v128.load(s1 + o), v2 = v128.load(s2 + o), v3 = v128.load(s3 + o);
      const ab0 = v128.shuffle<i32>(v0, v1, 0, 4, 1, 5), cd0 = v128.shuffle<i32>(v0, v1, 2, 6, 3, 7);
      const ab2 = v128.shuffle<i32>(v2, v3, 0, 4, 1, 5), cd2 = v128.shuffle<i32>(v2, v3, 2, 6, 3, 7);
      v128.store(d, v128.shuffle<i64>(ab0, ab2, 0, 2));
      v128.store(d + dstStride, v128.shuffle<i64>(ab0, ab2, 1, 3));
      v128.store(d + 2 * dstStride, v128.shuffle<i64>(cd0, cd2, 0, 2));
      v128.store(d + 3 * dstStride, v128.shuffle<i64>(cd0, cd2, 1, 3));
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
