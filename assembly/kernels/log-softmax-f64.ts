import { rowExp, rowLog, rowMax } from "../rows/row64";

/**
 * Log-softmax, (x − max) − log Σexp(x − max), for `rows` rows of `cols` f64. A row of −inf gives NaN, or −inf when `safe`.
 * `scratch` is not used. Strides are in bytes; `y` may be `x`.
 */
export function log_softmax_f64(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize, safe: bool): void {
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    const m = rowMax(x, cols);
    const l = rowExp(x, y, cols, m, false);
    const shift: f64 = m == Infinity ? NaN : safe && l == 0 ? 0 : rowLog(x, cols, m, l);
    for (let i: usize = 0; i < cols; i++) store<f64>(y + (i << 3), load<f64>(x + (i << 3)) - m - shift);
  }
}
