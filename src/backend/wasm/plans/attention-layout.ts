// The numbers of assembly/attention/layout.ts; test/kernels/layout.test.ts compares the two.
import { BLOCK_ROWS, TILE_KEYS } from "../../../calls/blocks.ts";

/** Columns of the row table, in 4-byte words. */
const COLUMN = BLOCK_ROWS;
export const ROW_QUERY = 0 * COLUMN;
export const ROW_OUT = 1 * COLUMN;
export const ROW_LSE = 2 * COLUMN;
export const ROW_MASK = 3 * COLUMN;
export const ROW_BIAS = 4 * COLUMN;
export const ROW_LOW = 5 * COLUMN;
export const ROW_HIGH = 6 * COLUMN;
export const ROW_POSITION = 7 * COLUMN;
export const ROW_SLOPE = 8 * COLUMN;
export const ROW_SINK = 9 * COLUMN;
export const ROW_TABLE_BYTES = 10 * COLUMN * 4;

/** Bytes of scratch before the packed queries: key ranges of groups, what reads ahead leave, a score tile, a tile of values. */
const PACKED_QUERIES = 3 * COLUMN * 4 + 2 * TILE_KEYS * 32;

/** Bytes of the state of `rows` rows: max and sum of 64, and an accumulator for each. */
export function stateBytes(rows: number, valueDim: number): number {
  return 2 * COLUMN * 4 + rows * Math.ceil(valueDim / 8) * 32;
}

/** Where the state of a block lies that is computed in `scratch`. */
export function stateIn(scratch: number, dim: number): number {
  return scratch + PACKED_QUERIES + BLOCK_ROWS * 4 * dim;
}

/** Scratch of a block: tiles, packed queries and the state. */
export function blockScratchBytes(dim: number, valueDim: number): number {
  return stateIn(0, dim) + stateBytes(BLOCK_ROWS, valueDim);
}

/** Flags of `attention_block_f32`, `attention_merge_f32` and `attention_scores_f32`. */
export const FIRST = 1;
export const LAST = 2;
export const RESTART = 4;
export const BIAS = 8;
export const MASK = 16;
export const TILES = 32;
