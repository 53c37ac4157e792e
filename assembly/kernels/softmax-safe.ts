import { BLOCK, blockExp, blockMax, blockScale, reciprocal } from "../rows/block";

/**
 * Safe softmax for `rows` rows of `cols` f32 in three passes: max, exponentials and their sum, normalize.
 * Strides are in bytes; `y` may be `x`.
 */
export function softmax_safe_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize, safe: bool): void {
  const bytes = cols << 2;
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    const m = blockMax(x, bytes);
    let sum: f64 = 0;
    for (let b: usize = 0; b < bytes; b += BLOCK) sum += <f64>blockExp(x + b, y + b, min(BLOCK, bytes - b), m);
    blockScale(y, bytes, reciprocal(sum, safe));
  }
}
