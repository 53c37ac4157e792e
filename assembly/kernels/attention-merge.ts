import { finish } from "../attention/finish";
import { FIRST, LAST, STATE_MAX, STATE_ROWS, STATE_SUM, accumulatorStride } from "../attention/layout";
import { merge } from "../attention/state";

/**
 * Merges the state of a block (attention/layout.ts) over some of its keys into that over earlier keys, `total`. With FIRST the total
 * becomes a copy, with LAST outputs and log-sum-exps are written from it. States have to come in ascending order of keys:
 * the order decides the bits, who computed them does not.
 */
export function attention_merge_f32(table: usize, rows: usize, valueDim: usize, state: usize, total: usize, flags: u32): void {
  const oStride = accumulatorStride(valueDim);
  if (flags & FIRST) {
    memory.copy(total, state, STATE_ROWS + rows * oStride);
  } else {
    for (let r: usize = 0; r < rows; r++) {
      const at = r << 2, o = STATE_ROWS + r * oStride;
      merge(total + STATE_MAX + at, total + STATE_SUM + at, total + o, state + STATE_MAX + at, state + STATE_SUM + at, state + o, oStride);
    }
  }
  if (flags & LAST) finish(table, rows, valueDim, total);
}
