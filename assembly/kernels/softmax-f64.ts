import { rowExp, rowMax } from "../rows/row64";

/**
 * Safe softmax for `rows` rows of `cols` f64 in three passes: max, exponentials and their sum, normalize.
 * `scratch` is not used. Strides are in bytes; `y` may be `x`.
 */
export function softmax_f64(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize, safe: bool): void {
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    const l = rowExp(x, y, cols, rowMax(x, cols), true);
    const factor: f64 = safe && l == 0 ? 0 : 1.0 / l;
    for (let i: usize = 0; i < cols; i++) store<f64>(y + (i << 3), load<f64>(y + (i << 3)) * factor);
  }
}
