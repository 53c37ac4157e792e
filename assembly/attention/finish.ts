import { storeUpTo16 } from "../simd/tail";
import { ROW_LSE, ROW_OUT, ROW_SINK, STATE_MAX, STATE_ROWS, STATE_SUM, accumulatorStride } from "./layout";
import { finishFactor, finishLse } from "./state";

/**
 * Normalizes a block's rows and writes outputs and log-sum-exps. A sum that underflowed to −0 becomes +0: whether it still is −0
 * would depend on values with weight 0, which only other rows see. A row that saw nothing is 0, whatever lies in its accumulator:
 * in a tile that other rows see, 0 · NaN.
 */
export function finish(table: usize, rows: usize, valueDim: usize, state: usize): void {
  const zero = f32x4.splat(0);
  const oStride = accumulatorStride(valueDim);
  let o = state + STATE_ROWS;
  for (let r: usize = 0; r < rows; r++, o += oStride) {
    const at = r << 2;
    const m = load<f32>(state + STATE_MAX + at), l = load<f32>(state + STATE_SUM + at), sink = load<f32>(table + ROW_SINK + at);
    const factor = f32x4.splat(finishFactor(m, l, sink));
    const seen = i32x4.splat(l == 0 ? 0 : -1);
    const out = load<usize>(table + ROW_OUT + at);
    const bytes = valueDim << 2;
    for (let i: usize = 0; i < bytes; i += 16) {
      storeUpTo16(out + i, bytes - i, v128.and(f32x4.add(f32x4.mul(v128.load(o + i), factor), zero), seen));
    }
    const lse = load<usize>(table + ROW_LSE + at);
    if (lse) store<f32>(lse, finishLse(m, l, sink));
  }
}
