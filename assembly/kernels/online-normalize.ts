import { BLOCK, blockExpFull, blockScale } from "../rows/block";
import { STATE } from "../rows/state";

/** `y = exp(x − m) / l` with the row states (m, l − 1). NaN if m is +inf. If l is 0: NaN, or 0 when `safe`. Strides are in bytes; `y` may be `x`. */
export function online_normalize_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, states: usize, safe: bool): void {
  const bytes = cols << 2;
  for (; rows > 0; rows--, x += xStride, y += yStride, states += STATE) {
    const m = load<f32>(states);
    const l = 1.0 + load<f64>(states, 8);
    const factor: f32 = m == Infinity ? NaN : safe && l == 0 ? 0 : <f32>(1.0 / l);
    for (let b: usize = 0; b < bytes; b += BLOCK) blockExpFull(x + b, y + b, min(BLOCK, bytes - b), m);
    blockScale(y, bytes, factor);
  }
}
