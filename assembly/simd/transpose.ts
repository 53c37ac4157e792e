/**
 * `dst[c][r] = src[r][c]` for 4 × 4 f32: rows at `s0` … `s3`, columns `dStride` bytes apart.
 *
 *   a b c d        a e i m
 *   e f g h   →    b f j n
 *   i j k l        c g k o
 *   m n o p        d h l p
 */
@inline export function transpose4x4(s0: usize, s1: usize, s2: usize, s3: usize, d: usize, dStride: usize): void {
  const v0 = v128.load(s0), v1 = v128.load(s1), v2 = v128.load(s2), v3 = v128.load(s3);
  const ab0 = v128.shuffle<i32>(v0, v1, 0, 4, 1, 5), cd0 = v128.shuffle<i32>(v0, v1, 2, 6, 3, 7);
  const ab2 = v128.shuffle<i32>(v2, v3, 0, 4, 1, 5), cd2 = v128.shuffle<i32>(v2, v3, 2, 6, 3, 7);
  v128.store(d, v128.shuffle<i64>(ab0, ab2, 0, 2));
  v128.store(d + dStride, v128.shuffle<i64>(ab0, ab2, 1, 3));
  v128.store(d + 2 * dStride, v128.shuffle<i64>(cd0, cd2, 0, 2));
  v128.store(d + 3 * dStride, v128.shuffle<i64>(cd0, cd2, 1, 3));
}
