import { expScalar } from "../math/exp";
import { log, log1p } from "../math/log";
import { FLOOR } from "../simd/constants";
import { BLOCK, blockExpSumNext, blockHasNaN, blockMax, blockRest, nextMax } from "./block";

// The online state of one row: the max m (f32) and r = Σ exp(x − m) − 1, the sum without the max's own 1 (f64, so that four million terms
// keep their digits). Where one element dominates, log1p(r) has digits that ln(1 + r) has not. In memory: m at 0, r at 8, STATE bytes per
// row. An empty state is (FLOOR, −1). A row with +inf has (+inf, 0), or (+inf, NaN) if it has NaN as well. Otherwise NaN shows as r = NaN.

export const STATE: usize = 16;

@inline export function start(state: usize): void {
  store<f32>(state, FLOOR);
  store<f64>(state, -1, 8);
}

/** Folds `bytes` of f32 at `x` into the state, one block at a time. */
export function absorb(state: usize, x: usize, bytes: usize): void {
  let m = load<f32>(state);
  let r = load<f64>(state, 8);
  const hadNaN = r != r;
  let coming = blockMax(x, min(BLOCK, bytes));
  for (let b: usize = 0; b < bytes; b += BLOCK) {
    const n = min(BLOCK, bytes - b);
    const leads = coming > m;
    if (leads) {
      r = (1 + r) * <f64>expScalar(m - coming);
      m = coming;
    }
    // As in softmax_online_f32: the same pass takes the max of the next block, if that is a whole one.
    const whole = b + 2 * BLOCK <= bytes;
    const sum = blockExpSumNext(x + b, n, m, whole ? x + b + BLOCK : x + b);
    if (whole) coming = nextMax;
    r += leads ? blockRest(x + b, n, m, sum) : <f64>sum;
    if (!whole && b + n < bytes) coming = blockMax(x + b + BLOCK, bytes - b - BLOCK);
  }
  // inf − inf made r NaN. Tell a row with +inf from one with NaN.
  if (m == Infinity && r != r && !hadNaN && !blockHasNaN(x, bytes)) r = 0;
  store<f32>(state, m);
  store<f64>(state, r, 8);
}

/** ln(1 + r), by the shorter way where 1 + r has digits enough (block.ts, DOMINATED). */
export function logRest(r: f64): f64 {
  return r < 0.125 ? log1p(r) : log(1.0 + r);
}

/** ln Σ eˣ of everything absorbed; −inf if that is nothing, or only −inf. */
@inline export function finish(state: usize): f32 {
  return <f32>(<f64>load<f32>(state) + logRest(load<f64>(state, 8)));
}
