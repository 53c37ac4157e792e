import { scoreTile } from "../attention/dot";
import { PACKED_QUERIES, ROW_OUT, SCORES, TILES, TILE_KEYS } from "../attention/layout";
import { modifyColumn, softcapTile } from "../attention/modify";
import { packQueries } from "../attention/pack";

/** Stages of a score, in their order. */
const RAW: i32 = 0;
const SOFTCAPPED: i32 = 1;

/**
 * Writes the scores of one block of rows (attention/layout.ts) for the keys 0 … `keyEnd` to ROW_OUT, key after key: `stage` 0
 * scale·q·k, 1 after softcap, 2 after everything that is added and masked. Other arguments as for `attention_block_f32`.
 */
export function attention_scores_f32(
  table: usize, rows: usize, k: usize, kStride: usize, keyStart: usize, keyEnd: usize,
  dim: usize, scale: f32, softcap: f32, tiles: usize, scratch: usize, stage: i32, flags: u32,
): void {
  const groups = (rows + 7) >> 3;
  const packed = scratch + PACKED_QUERIES;
  const scores = scratch + SCORES;
  packQueries(table, rows, groups, 8, dim, scale, packed);
  for (let t = keyStart; t < keyEnd; t += TILE_KEYS) {
    const tile: usize = flags & TILES ? load<usize>(tiles + ((t >> 6) << 2)) : 0;
    const to = min(t + TILE_KEYS, keyEnd);
    const keys = (to - t + 3) & ~3;
    for (let g: usize = 0; g < groups; g++) {
      scoreTile(packed + (g << 5) * dim, k, kStride, dim, t, to, 0, keyEnd, scores, 32, 0, false);
      if (stage != RAW && softcap != 0) softcapTile(scores, keys << 5, softcap);
      if (stage > SOFTCAPPED) {
        modifyColumn(scores, 32, table + (g << 5), t, keys, keyEnd, <i32>tile == -1 ? 0 : tile, g << 3, flags);
        modifyColumn(scores + 16, 32, table + (g << 5) + 16, t, keys, keyEnd, <i32>tile == -1 ? 0 : tile, (g << 3) + 4, flags);
      }
      for (let r = g << 3; r < min(rows, (g + 1) << 3); r++) {
        const out = load<usize>(table + ROW_OUT + (r << 2));
        for (let j = t; j < to; j++) {
          store<f32>(out + (j << 2), stage > SOFTCAPPED && <i32>tile == -1 ? -Infinity : load<f32>(scores + ((j - t) << 5) + ((r & 7) << 2)));
        }
      }
    }
  }
}
