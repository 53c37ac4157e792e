import { packValueTail } from "../attention/accumulate";
import { finish } from "../attention/finish";
import {
  FIRST, GROUP_HIGH, GROUP_LOW, LAST, PACKED_QUERIES, PARAM_DIM, PARAM_FLAGS, PARAM_ROWS, PARAM_SCALE, PARAM_SOFTCAP, PARAM_TILE_STEP,
  PARAM_VALUE_DIM, RESTART, SCORES, SCORE_COLUMNS, SCORE_ROW, STATE_MAX, STATE_ROWS, STATE_SUM, TILE_K, TILE_K_STRIDE, TILE_KEYS, TILE_MASK, TILE_V,
  TILE_V_STRIDE, TOUCHED, VALUE_TAIL, accumulatorStride, fromKey0, rowEntry, stateIn, tileRecord,
} from "../attention/layout";
import { modifyRows, softcapTile } from "../attention/modify";
import { packRows } from "../attention/pack";
import { findGroupRanges, highestKey, lowestKey } from "../attention/ranges";
import { scoreRows } from "../attention/row-scores";
import { accumulateRows } from "../attention/row-values";
import { absorbRow, start } from "../attention/state";

/** Rows whose scores are modified together. */
const GROUP: usize = 4;

/**
 * Like `attention_block_f32`, for blocks of few rows, as in decoding. Vectors are pieces of keys and values instead of rows, so keys are
 * read 16 bytes at a time, and a row that does not exist costs nothing. A row's bits do not depend on how many there are.
 */
export function attention_rows_f32(block: usize, keyStart: usize, keyEnd: usize, mode: u32, scratch: usize): void {
  const rows = load<usize>(block, PARAM_ROWS), dim = load<usize>(block, PARAM_DIM), valueDim = load<usize>(block, PARAM_VALUE_DIM);
  const softcap = load<f32>(block, PARAM_SOFTCAP), flags = load<u32>(block, PARAM_FLAGS);
  const groups = (rows + GROUP - 1) / GROUP;
  const oStride = accumulatorStride(valueDim);
  const packed = scratch + PACKED_QUERIES;
  const state = stateIn(scratch, dim);
  const accumulators = state + STATE_ROWS;
  const scores = scratch + SCORES;
  const tail = scratch + VALUE_TAIL;

  if (mode & FIRST) {
    packRows(block, rows, dim, load<f32>(block, PARAM_SCALE), packed);
    findGroupRanges(block, rows, groups, GROUP, scratch);
  }
  if (mode & (FIRST | RESTART)) {
    for (let r: usize = 0; r < rows; r += GROUP) start(state + STATE_MAX + (r << 2), state + STATE_SUM + (r << 2));
    memory.fill(accumulators, 0, rows * oStride);
  }

  const blockLow = lowestKey(scratch, groups, keyEnd), blockHigh = highestKey(scratch, groups, keyEnd);
  for (let t = max(keyStart, blockLow & ~(TILE_KEYS - 1)); t < blockHigh; t += TILE_KEYS) {
    const record = tileRecord(block, t);
    const tile = load<usize>(record, TILE_MASK);
    if (<i32>tile == -1) continue;
    const kStride = load<usize>(record, TILE_K_STRIDE), vStride = load<usize>(record, TILE_V_STRIDE);
    const k = fromKey0(block, record, TILE_K, kStride, t), v = fromKey0(block, record, TILE_V, vStride, t);
    // Reading ahead stays within what this record describes.
    let ahead: usize = 0;
    if (kStride == dim << 2 && vStride == kStride) ahead = load<usize>(block, PARAM_TILE_STEP) ? t + TILE_KEYS : -1;
    if (valueDim & 7) packValueTail(v, vStride, valueDim, max(t, blockLow), min(t + TILE_KEYS, blockHigh), tail);
    for (let first: usize = 0; first < rows; first += GROUP) {
      const range = scratch + first; // the group's number times four
      const high = min(load<usize>(range, GROUP_HIGH), keyEnd);
      const from = max(t, load<usize>(range, GROUP_LOW)), to = min(t + TILE_KEYS, high);
      if (from >= to) continue;
      const count = min(GROUP, rows - first);
      store<i32>(scratch + TOUCHED, scoreRows(packed + ((first * dim) << 2), count, dim, k, kStride, from, to, scores, v, min(ahead, high)));
      if (softcap != 0) softcapTile(scores, count * SCORE_ROW, softcap);
      modifyRows(scores, count, rowEntry(block, first), from, to, keyEnd, tile, first, flags, scratch + SCORE_COLUMNS);
      const low = (from - t) & ~15, bytes = (((to - t + 15) & ~15) - low) << 2;
      const o = accumulators + first * oStride;
      for (let r: usize = 0; r < count; r++) {
        const at = (first + r) << 2;
        absorbRow(scores + r * SCORE_ROW + (low << 2), bytes, state + STATE_MAX + at, state + STATE_SUM + at, o + r * oStride, oStride);
      }
      accumulateRows(scores + ((from - t) << 2), count, v + from * vStride, vStride, valueDim, tail + ((from - t) << 5), o, oStride, to - from);
    }
  }

  if (mode & LAST) finish(block, state);
}
