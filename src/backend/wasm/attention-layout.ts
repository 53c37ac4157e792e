// The numbers of assembly/attention/layout.ts; test/kernels/layout.test.ts compares the two.

/** Rows of a block, and keys of a tile. */
export const BLOCK_ROWS = 64;
export const TILE_KEYS = 64;

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

/** Bytes of scratch that a block needs besides the packed queries and the accumulators. */
const FIXED_SCRATCH = 7 * COLUMN * 4 + 2 * TILE_KEYS * 32;

/** Scratch of a block: states, tiles, packed queries, accumulators, and merged totals for decode. */
export function blockScratchBytes(dim: number, valueDim: number): number {
  return FIXED_SCRATCH + BLOCK_ROWS * 4 * (dim + 2 * Math.ceil(valueDim / 8) * 8);
}

/** Flags of `attention_block_f32` and `attention_scores_f32`. */
export const FIRST = 1;
export const LAST = 2;
export const CHUNKED = 4;
export const BIAS = 8;
export const MASK = 16;
export const TILES = 32;
