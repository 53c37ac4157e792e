import { expScalar } from "../math/exp";
import { log } from "../math/log";
import { FLOOR } from "../simd/constants";
import { BLOCK, blockExpSumNext, blockHasNaN, blockMax, nextMax } from "./block";

// The online state of one row: the max m (f32) and l = Σ exp(x − m) (f64, so that four million terms keep their digits).
// In memory: m at 0, l at 8, STATE bytes per row. An empty state is (FLOOR, 0). A row with +inf has (+inf, 1), or (+inf, NaN) if it
// has NaN as well. Otherwise NaN shows as l = NaN.

export const STATE: usize = 16;

@inline export function start(state: usize): void {
  store<f32>(state, FLOOR);
  store<f64>(state, 0, 8);
}

/** Folds `bytes` of f32 at `x` into the state, one block at a time. */
export function absorb(state: usize, x: usize, bytes: usize): void {
  let m = load<f32>(state);
  let l = load<f64>(state, 8);
  const hadNaN = l != l;
  let coming = blockMax(x, min(BLOCK, bytes));
  for (let b: usize = 0; b < bytes; b += BLOCK) {
    const n = min(BLOCK, bytes - b);
    if (coming > m) {
      l *= <f64>expScalar(m - coming);
      m = coming;
    }
    // As in softmax_online_f32: the same pass takes the max of the next block, if that is a whole one.
    const whole = b + 2 * BLOCK <= bytes;
    l += <f64>blockExpSumNext(x + b, n, m, whole ? x + b + BLOCK : x + b);
    if (whole) coming = nextMax;
    else if (b + n < bytes) coming = blockMax(x + b + BLOCK, bytes - b - BLOCK);
  }
  // inf − inf made l NaN. Tell a row with +inf from one with NaN.
  if (m == Infinity && l != l && !hadNaN && !blockHasNaN(x, bytes)) l = 1;
  store<f32>(state, m);
  store<f64>(state, l, 8);
}

/** ln Σ eˣ of everything absorbed; −inf if that is nothing, or only −inf. */
@inline export function finish(state: usize): f32 {
  const l = load<f64>(state, 8);
  return l == 0 ? -Infinity : <f32>(<f64>load<f32>(state) + log(l));
}
