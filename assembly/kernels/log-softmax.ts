import { BLOCK, blockExpSumNext, blockMax, blockRest, blockShift, nextMax } from "../rows/block";
import { absorb, logRest, start } from "../rows/state";

/**
 * Log-softmax, (x − max) − log Σexp(x − max), for `rows` rows of `cols` f32. `scratch` holds one row state (16 bytes).
 * A row of −inf gives NaN, or −inf when `safe`. Strides are in bytes; `y` may be `x`.
 */
export function log_softmax_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize, safe: bool): void {
  const bytes = cols << 2;
  if (!rows || !cols) return;
  if (bytes <= BLOCK) {
    // Rows of one block, as in softmax_online_f32: the same pass takes the max of the next row.
    let m = blockMax(x, bytes);
    for (; rows > 0; rows--, x += xStride, y += yStride) {
      const l = blockExpSumNext(x, bytes, m, rows > 1 ? x + xStride : x);
      const coming = nextMax;
      blockShift(x, y, bytes, m, shiftOf(m, blockRest(x, bytes, m, l), safe));
      m = coming;
    }
    return;
  }
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    start(scratch);
    absorb(scratch, x, bytes);
    const m = load<f32>(scratch);
    blockShift(x, y, bytes, m, shiftOf(m, load<f64>(scratch, 8), safe));
  }
}

/** ln(1 + r). With +inf in the row: NaN throughout. With nothing in the row: ln 0 would turn −inf into NaN, and `safe` prevents that. */
function shiftOf(m: f32, r: f64, safe: bool): f32 {
  return m == Infinity ? NaN : safe && r == -1 ? 0 : <f32>logRest(r);
}
