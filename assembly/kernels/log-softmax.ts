import { log } from "../math/log";
import { BLOCK, blockShift } from "../rows/block";
import { absorb, start } from "../rows/state";

/**
 * Log-softmax, (x − max) − log Σexp(x − max), for `rows` rows of `cols` f32. `scratch` holds one row state (16 bytes).
 * A row of −inf gives NaN, or −inf when `safe`. Strides are in bytes; `y` may be `x`.
 */
export function log_softmax_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize, safe: bool): void {
  const bytes = cols << 2;
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    start(scratch);
    absorb(scratch, x, bytes);
    const m = load<f32>(scratch);
    const l = load<f64>(scratch, 8);
    // +inf in the row: NaN throughout. Nothing in the row: log 0 would turn −inf into NaN, which `safe` asks not to see.
    const shift: f32 = m == Infinity ? NaN : safe && l == 0 ? 0 : <f32>log(l);
    blockShift(x, y, bytes, m, shift);
  }
}
