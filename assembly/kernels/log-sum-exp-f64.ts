import { rowExp, rowHasNaN, rowLog, rowMax } from "../rows/row64";

/** log Σexp(x) for `rows` rows of `cols` f64. Writes one f64 per row to `y`. `scratch` is not used. Strides are in bytes. */
export function log_sum_exp_f64(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize): void {
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    const m = rowMax(x, cols);
    const l = rowExp(x, y, cols, m, false);
    store<f64>(y, m == Infinity && !rowHasNaN(x, cols) ? Infinity : l == 0 ? -Infinity : m + rowLog(x, cols, m, l));
  }
}
