import { accumulate, packValueTail } from "../attention/accumulate";
import { scoreTile } from "../attention/dot";
import { finish } from "../attention/finish";
import {
  FIRST, GROUP_HIGH, GROUP_LOW, GROUP_ROWS, LAST, PACKED_QUERIES, PARAM_DIM, PARAM_FLAGS, PARAM_ROWS, PARAM_SCALE, PARAM_SOFTCAP, PARAM_VALUE_DIM,
  RESTART, ROW_GROUP, SCORES, SCORE_PITCH, STATE_MAX, STATE_ROWS, STATE_SUM, TILE_K, TILE_K_STRIDE, TILE_KEYS, TILE_MASK, TILE_V, TILE_V_STRIDE,
  VALUE_TAIL, accumulatorStride, fromKey0, stateIn, tileRecord,
} from "../attention/layout";
import { modifyColumn, softcapTile } from "../attention/modify";
import { packQueries } from "../attention/pack";
import { findGroupRanges, highestKey, lowestKey } from "../attention/ranges";
import { absorb, start } from "../attention/state";

/**
 * Flash attention of one block of rows (attention/layout.ts) over the keys `keyStart` (a multiple of 64) … `keyEnd`. A block
 * may continue over several calls: set FIRST in the `mode` of the first, LAST in that of the last, and keep `scratch` in between. Without
 * LAST the state stays in scratch, for `attention_merge_f32`.
 */
export function attention_block_f32(block: usize, keyStart: usize, keyEnd: usize, mode: u32, scratch: usize): void {
  const rows = load<usize>(block, PARAM_ROWS), dim = load<usize>(block, PARAM_DIM), valueDim = load<usize>(block, PARAM_VALUE_DIM);
  const softcap = load<f32>(block, PARAM_SOFTCAP), flags = load<u32>(block, PARAM_FLAGS);
  const groups = (rows + GROUP_ROWS - 1) / GROUP_ROWS;
  const oStride = accumulatorStride(valueDim);
  const packed = scratch + PACKED_QUERIES;
  const state = stateIn(scratch, dim);
  const accumulators = state + STATE_ROWS;
  const scores = scratch + SCORES;
  const tail = scratch + VALUE_TAIL;

  if (mode & FIRST) {
    packQueries(block, rows, groups, dim, load<f32>(block, PARAM_SCALE), packed);
    findGroupRanges(block, rows, groups, GROUP_ROWS, scratch);
  }
  if (mode & (FIRST | RESTART)) {
    for (let r: usize = 0; r < groups * GROUP_ROWS; r += 4) start(state + STATE_MAX + (r << 2), state + STATE_SUM + (r << 2));
    memory.fill(accumulators, 0, groups * GROUP_ROWS * oStride);
  }

  const blockLow = lowestKey(scratch, groups, keyEnd), blockHigh = highestKey(scratch, groups, keyEnd);
  for (let t = max(keyStart, blockLow & ~(TILE_KEYS - 1)); t < blockHigh; t += TILE_KEYS) {
    const record = tileRecord(block, t);
    const tile = load<usize>(record, TILE_MASK);
    if (<i32>tile == -1) continue;
    const kStride = load<usize>(record, TILE_K_STRIDE), vStride = load<usize>(record, TILE_V_STRIDE);
    const k = fromKey0(block, record, TILE_K, kStride, t), v = fromKey0(block, record, TILE_V, vStride, t);
    const first = max(t, blockLow), count = min(t + TILE_KEYS, blockHigh) - first;
    if (valueDim & 7) packValueTail(v, vStride, valueDim, first, first + count, tail);
    for (let g: usize = 0; g < groups; g++) {
      const low = load<usize>(scratch + GROUP_LOW + (g << 2)), high = min(load<usize>(scratch + GROUP_HIGH + (g << 2)), keyEnd);
      const from = max(t, low & ~3), to = min(t + TILE_KEYS, high);
      if (from >= to) continue;
      const keys = (to - from + 3) & ~3;
      const row = g * SCORE_PITCH, entries = block + g * ROW_GROUP;
      const o = accumulators + g * GROUP_ROWS * oStride;
      scoreTile(packed + row * dim, k, kStride, dim, from, to, low, high, scores);
      if (softcap != 0) softcapTile(scores, keys * SCORE_PITCH, softcap);
      modifyColumn(scores, SCORE_PITCH, entries, from, keys, keyEnd, tile, g * GROUP_ROWS, flags);
      modifyColumn(scores + 16, SCORE_PITCH, entries + 16, from, keys, keyEnd, tile, g * GROUP_ROWS + 4, flags);
      absorb(scores, keys, state + STATE_MAX + row, state + STATE_SUM + row, o, oStride);
      const begin = max(from, low);
      accumulate(scores + (begin - from) * SCORE_PITCH, v + begin * vStride, vStride, valueDim, tail + ((begin & 63) << 5), o, oStride, to - begin);
    }
  }

  if (mode & LAST) finish(block, state);
}
