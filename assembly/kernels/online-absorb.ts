import { STATE, absorb } from "../rows/state";

/** Folds a block of `rows` × `cols` f32 into `rows` row states (rows/state.ts). `stride` is in bytes. */
export function online_absorb_f32(x: usize, rows: usize, cols: usize, stride: usize, states: usize): void {
  for (; rows > 0; rows--, x += stride, states += STATE) absorb(states, x, cols << 2);
}
