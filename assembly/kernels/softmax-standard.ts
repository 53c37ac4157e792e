import { BLOCK, blockExpFull, blockScale, reciprocal } from "../rows/block";

/**
 * Standard softmax, exp(x)/Σexp(x), for `rows` rows of `cols` f32. Overflows above 88.72 exactly as the formula does.
 * Strides are in bytes; `y` may be `x`.
 */
export function softmax_standard_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize, safe: bool): void {
  const bytes = cols << 2;
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    let sum: f64 = 0;
    for (let b: usize = 0; b < bytes; b += BLOCK) sum += <f64>blockExpFull(x + b, y + b, min(BLOCK, bytes - b), 0);
    // Through f32, so that the sum overflows as in the formula.
    blockScale(y, bytes, reciprocal(<f64>(<f32>sum), safe));
  }
}
