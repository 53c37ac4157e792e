import { scoreTile } from "../attention/dot";
import {
  PACKED_QUERIES, PARAM_DIM, PARAM_FLAGS, PARAM_ROWS, PARAM_SCALE, PARAM_SOFTCAP, ROW_GROUP, ROW_OUT, SCORES, TILE_K, TILE_K_STRIDE, TILE_KEYS, TILE_MASK, fromKey0,
  rowEntry, tileRecord,
} from "../attention/layout";
import { modifyColumn, softcapTile } from "../attention/modify";
import { packQueries } from "../attention/pack";

/** Stages of a score, in order. */
const RAW: i32 = 0;
const SOFTCAPPED: i32 = 1;

/**
 * Writes the scores of one block of rows (attention/layout.ts) for the keys `keyStart` (a multiple of 64) … `keyEnd`, key after key.
 * ROW_OUT is where key 0 goes. `stage` 0: scale·q·k, 1: after softcap, 2: after everything that is added or masked.
 */
export function attention_scores_f32(block: usize, keyStart: usize, keyEnd: usize, stage: i32, scratch: usize): void {
  const rows = load<usize>(block, PARAM_ROWS), dim = load<usize>(block, PARAM_DIM);
  const softcap = load<f32>(block, PARAM_SOFTCAP), flags = load<u32>(block, PARAM_FLAGS);
  const groups = (rows + 7) >> 3;
  const packed = scratch + PACKED_QUERIES;
  const scores = scratch + SCORES;
  packQueries(block, rows, groups, dim, load<f32>(block, PARAM_SCALE), packed);
  for (let t = keyStart; t < keyEnd; t += TILE_KEYS) {
    const record = tileRecord(block, t);
    const kStride = load<usize>(record, TILE_K_STRIDE), k = fromKey0(block, record, TILE_K, kStride, t);
    const tile = load<usize>(record, TILE_MASK);
    const hidden = stage > SOFTCAPPED && <i32>tile == -1;
    const to = min(t + TILE_KEYS, keyEnd);
    const keys = (to - t + 3) & ~3;
    for (let g: usize = 0; g < groups; g++) {
      scoreTile(packed + (g << 5) * dim, k, kStride, dim, t, to, 0, keyEnd, scores);
      if (stage != RAW && softcap != 0) softcapTile(scores, keys << 5, softcap);
      if (stage > SOFTCAPPED && !hidden) {
        modifyColumn(scores, 32, block + g * ROW_GROUP, t, keys, keyEnd, tile, g << 3, flags);
        modifyColumn(scores + 16, 32, block + g * ROW_GROUP + 16, t, keys, keyEnd, tile, (g << 3) + 4, flags);
      }
      for (let r = g << 3; r < min(rows, (g + 1) << 3); r++) {
        const out = load<usize>(rowEntry(block, r), ROW_OUT);
        for (let j = t; j < to; j++) store<f32>(out + (j << 2), hidden ? -Infinity : load<f32>(scores + ((j - t) << 5) + ((r & 7) << 2)));
      }
    }
  }
}
