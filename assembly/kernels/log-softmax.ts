import { log } from "../math/log";
import { BLOCK, blockExpSumNext, blockMax, blockShift, nextMax } from "../rows/block";
import { absorb, start } from "../rows/state";

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
      blockShift(x, y, bytes, m, shiftOf(m, <f64>l, safe));
      m = nextMax;
    }
    return;
  }
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    start(scratch);
    absorb(scratch, x, bytes);
    const m = load<f32>(scratch);
    const l = load<f64>(scratch, 8);
    blockShift(x, y, bytes, m, shiftOf(m, l, safe));
  }
}

/** log l. With +inf in the row: NaN throughout. With nothing in the row: log 0 would turn −inf into NaN, and `safe` prevents that. */
function shiftOf(m: f32, l: f64, safe: bool): f32 {
  return m == Infinity ? NaN : safe && l == 0 ? 0 : <f32>log(l);
}
