import { storeUpTo16 } from "../simd/tail";
import { PARAM_ROWS, PARAM_VALUE_DIM, ROW_LSE, ROW_OUT, ROW_SINK, STATE_MAX, STATE_ROWS, STATE_SUM, accumulatorStride, rowEntry } from "./layout";
import { finishFactor, finishLse } from "./state";

/**
 * Normalizes a block's rows and writes outputs and log-sum-exps. A sum that underflowed to −0 becomes +0: otherwise the sign would
 * depend on values with weight 0 that only other rows see. A row that saw nothing becomes 0, whatever its accumulator holds: in a tile
 * that other rows see, that may be 0 · NaN.
 */
export function finish(block: usize, state: usize): void {
  const rows = load<usize>(block, PARAM_ROWS), valueDim = load<usize>(block, PARAM_VALUE_DIM);
  const zero = f32x4.splat(0);
  const oStride = accumulatorStride(valueDim);
  let o = state + STATE_ROWS;
  for (let r: usize = 0; r < rows; r++, o += oStride) {
    const at = r << 2, entry = rowEntry(block, r);
    const m = load<f32>(state + STATE_MAX + at), l = load<f32>(state + STATE_SUM + at), sink = load<f32>(entry, ROW_SINK);
    const factor = f32x4.splat(finishFactor(m, l, sink));
    const seen = i32x4.splat(l == 0 ? 0 : -1);
    const out = load<usize>(entry, ROW_OUT);
    const bytes = valueDim << 2;
    for (let i: usize = 0; i < bytes; i += 16) {
      storeUpTo16(out + i, bytes - i, v128.and(f32x4.add(f32x4.mul(v128.load(o + i), factor), zero), seen));
    }
    const lse = load<usize>(entry, ROW_LSE);
    if (lse) store<f32>(lse, finishLse(m, l, sink));
  }
}
