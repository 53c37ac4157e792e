import { accumulate, packValueTail } from "../attention/accumulate";
import { scoreTile } from "../attention/dot";
import { finish } from "../attention/finish";
import {
  FIRST, GROUP_HIGH, GROUP_LOW, LAST, PACKED_QUERIES, RESTART, ROW_HIGH, ROW_LOW, SCORES, STATE_MAX, STATE_ROWS, STATE_SUM, TILES, TILE_KEYS, TOUCHED,
  VALUE_TAIL, accumulatorStride, stateIn,
} from "../attention/layout";
import { modifyColumn, softcapTile } from "../attention/modify";
import { packQueries } from "../attention/pack";
import { absorb, start } from "../attention/state";

/** The keys that any row of each group may see. */
function findGroupRanges(table: usize, rows: usize, groups: usize, lanes: usize, scratch: usize): void {
  for (let g: usize = 0; g < groups; g++) {
    let low = i32.MAX_VALUE, high = 0;
    for (let r = g * lanes; r < min(rows, (g + 1) * lanes); r++) {
      const rowLow = load<i32>(table + ROW_LOW + (r << 2)), rowHigh = load<i32>(table + ROW_HIGH + (r << 2));
      if (rowLow >= rowHigh) continue;
      low = min(low, rowLow);
      high = max(high, rowHigh);
    }
    store<i32>(scratch + GROUP_LOW + (g << 2), min(low, high));
    store<i32>(scratch + GROUP_HIGH + (g << 2), high);
  }
}

/**
 * Flash attention of one block of rows (attention/layout.ts) over the keys `keyStart` (a multiple of 64) … `keyEnd`. A block
 * may be continued over several calls: the first has FIRST set, the last LAST, and `scratch` is kept in between. Without LAST the
 * state stays behind, for `attention_merge_f32`.
 *
 * `k` and `v` address key 0, strides are in bytes. `tiles`, if TILES is set, holds one i32 per tile of 64 keys: −1 nothing visible,
 * 0 everything, else the address of a 64 × 64 byte mask of this block's rows by the tile's keys. `softcap` 0 is off.
 */
export function attention_block_f32(
  table: usize, rows: usize, k: usize, kStride: usize, v: usize, vStride: usize, keyStart: usize, keyEnd: usize,
  dim: usize, valueDim: usize, scale: f32, softcap: f32, tiles: usize, scratch: usize, flags: u32,
): void {
  const lanes: usize = rows <= 4 ? 4 : 8;
  const pitch = lanes << 2;
  const groups = (rows + lanes - 1) / lanes;
  const oStride = accumulatorStride(valueDim);
  const packed = scratch + PACKED_QUERIES;
  const state = stateIn(scratch, dim);
  const accumulators = state + STATE_ROWS;
  const scores = scratch + SCORES;
  const tail = scratch + VALUE_TAIL;
  const touch = kStride == dim << 2 && vStride == kStride;

  if (flags & FIRST) {
    packQueries(table, rows, groups, lanes, dim, scale, packed);
    findGroupRanges(table, rows, groups, lanes, scratch);
  }
  if (flags & (FIRST | RESTART)) {
    for (let r: usize = 0; r < groups * lanes; r += 4) start(state + STATE_MAX + (r << 2), state + STATE_SUM + (r << 2));
    memory.fill(accumulators, 0, groups * lanes * oStride);
  }

  let blockLow = keyEnd, blockHigh: usize = 0;
  for (let g: usize = 0; g < groups; g++) {
    const low = load<usize>(scratch + GROUP_LOW + (g << 2)), high = load<usize>(scratch + GROUP_HIGH + (g << 2));
    if (low < high) blockLow = min(blockLow, low);
    blockHigh = max(blockHigh, high);
  }
  blockHigh = min(blockHigh, keyEnd);

  for (let t = max(keyStart, blockLow & ~(TILE_KEYS - 1)); t < blockHigh; t += TILE_KEYS) {
    const tile: usize = flags & TILES ? load<usize>(tiles + ((t >> 6) << 2)) : 0;
    if (<i32>tile != -1) {
      const first = max(t, blockLow), count = min(t + TILE_KEYS, blockHigh) - first;
      if (valueDim & 7) packValueTail(v, vStride, valueDim, first, first + count, tail);
      for (let g: usize = 0; g < groups; g++) {
        const low = load<usize>(scratch + GROUP_LOW + (g << 2)), high = min(load<usize>(scratch + GROUP_HIGH + (g << 2)), keyEnd);
        const from = max(t, low & ~3), to = min(t + TILE_KEYS, high);
        if (from >= to) continue;
        const keys = (to - from + 3) & ~3;
        const row = g * pitch;
        const o = accumulators + g * lanes * oStride;
        v128.store(scratch + TOUCHED, scoreTile(packed + row * dim, k, kStride, dim, from, to, low, high, scores, pitch, v, touch));
        if (softcap != 0) softcapTile(scores, keys * pitch, softcap);
        modifyColumn(scores, pitch, table + row, from, keys, keyEnd, tile, g * lanes, flags);
        if (lanes == 8) modifyColumn(scores + 16, pitch, table + row + 16, from, keys, keyEnd, tile, g * lanes + 4, flags);
        absorb(scores, pitch, keys, state + STATE_MAX + row, state + STATE_SUM + row, o, oStride);
        const begin = max(from, low);
        accumulate(scores + (begin - from) * pitch, pitch, v + begin * vStride, vStride, valueDim, tail + ((begin & 63) << 5), o, oStride, to - begin);
      }
    }
  }

  if (flags & LAST) finish(table, rows, valueDim, state);
}
