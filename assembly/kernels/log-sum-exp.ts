import { absorb, finish, start } from "../rows/state";

/**
 * log Σexp(x) for `rows` rows of `cols` f32. Writes one f32 per row to `y`. `scratch` holds one row state (16 bytes).
 * Strides are in bytes.
 */
export function log_sum_exp_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize): void {
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    start(scratch);
    absorb(scratch, x, cols << 2);
    store<f32>(y, finish(scratch));
  }
}
