import { finish } from "../attention/finish";
import { FIRST, LAST, PARAM_ROWS, PARAM_VALUE_DIM, STATE_MAX, STATE_ROWS, STATE_SUM, accumulatorStride } from "../attention/layout";
import { merge } from "../attention/state";

/**
 * Merges a block's state (attention/layout.ts) over some of its keys into `total`, the state over earlier keys. With FIRST the total
 * becomes a copy; with LAST it gives the outputs and log-sum-exps. States must come in ascending order of keys: the order decides the
 * bits, not which thread computed them.
 */
export function attention_merge_f32(block: usize, state: usize, total: usize, mode: u32): void {
  const rows = load<usize>(block, PARAM_ROWS);
  const oStride = accumulatorStride(load<usize>(block, PARAM_VALUE_DIM));
  if (mode & FIRST) {
    memory.copy(total, state, STATE_ROWS + rows * oStride);
  } else {
    for (let r: usize = 0; r < rows; r++) {
      const at = r << 2, o = STATE_ROWS + r * oStride;
      merge(total + STATE_MAX + at, total + STATE_SUM + at, total + o, state + STATE_MAX + at, state + STATE_SUM + at, state + o, oStride);
    }
  }
  if (mode & LAST) finish(block, total);
}
