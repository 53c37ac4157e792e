// Where everything lies during a call. A block is up to 64 rows that attend to the same keys: 64 queries of one head, or the
// few queries of all heads that share a key/value head. A kernel gets the address of the block's description: its parameters, followed
// by the row table. Tile records tell where keys and values are.
// src/backend/wasm/plans/attention-layout.ts declares the same fields in the same order; test/kernels/layout.test.ts compares them.

/** Rows of a block, and keys of a tile. */
export const BLOCK_ROWS: usize = 64;
export const TILE_KEYS: usize = 64;

// The parameters of a block, four bytes each.
export const PARAM_ROWS: usize = 0 * 4; //      how many rows there are
export const PARAM_DIM: usize = 1 * 4; //       of queries and keys
export const PARAM_VALUE_DIM: usize = 2 * 4;
export const PARAM_SCALE: usize = 3 * 4; //     f32
export const PARAM_SOFTCAP: usize = 4 * 4; //   f32, 0 is off
export const PARAM_FLAGS: usize = 5 * 4; //     BIAS, MASK
export const PARAM_TILES: usize = 6 * 4; //     address of the record of keys 0 … 63
export const PARAM_TILE_STEP: usize = 7 * 4; // bytes from one record to the next; 0: one for all keys, which follow key 0 at its strides
/** Bytes of the parameters: a cache line. */
export const PARAMETERS: usize = 16 * 4;

// The row table consists of groups of eight rows, with a column of eight for each field: four rows load as one vector, and a block of
// few rows has a short table.
//
//   group 0   query 0 … 7 | out 0 … 7 | … | sink 0 … 7
//   group 1   query 8 … 15 | …
export const GROUP_ROWS: usize = 8;
const COLUMN: usize = GROUP_ROWS * 4;
export const ROW_QUERY: usize = PARAMETERS + 0 * COLUMN; // address of the query
export const ROW_OUT: usize = PARAMETERS + 1 * COLUMN; //   address of the output row
export const ROW_LSE: usize = PARAMETERS + 2 * COLUMN; //   address of the log-sum-exp, or 0
export const ROW_MASK: usize = PARAMETERS + 3 * COLUMN; //  address of the mask byte of key 0, if MASK is set
export const ROW_BIAS: usize = PARAMETERS + 4 * COLUMN; //  address of the bias of key 0, if BIAS is set
export const ROW_LOW: usize = PARAMETERS + 5 * COLUMN; //   i32: first visible key
export const ROW_HIGH: usize = PARAMETERS + 6 * COLUMN; //  i32: one past the last visible key; LOW = HIGH = 0 for none
export const ROW_POSITION: usize = PARAMETERS + 7 * COLUMN; // f32: position among the keys, for ALiBi
export const ROW_SLOPE: usize = PARAMETERS + 8 * COLUMN; // f32: ALiBi slope
export const ROW_SINK: usize = PARAMETERS + 9 * COLUMN; //  f32: sink logit, −inf for none
/** Bytes of a group. */
export const ROW_GROUP: usize = 10 * COLUMN;

// A tile record: where 64 keys and their values are, and which of them the block's rows see. Strides are in bytes.
export const TILE_K: usize = 0 * 4; //        address of the first key
export const TILE_V: usize = 1 * 4; //        address of its value
export const TILE_K_STRIDE: usize = 2 * 4;
export const TILE_V_STRIDE: usize = 3 * 4;
export const TILE_MASK: usize = 4 * 4; //     −1: nothing is visible, 0: everything, else the address of a byte for each row and key, 64 × 64
export const TILE_DTYPES: usize = 5 * 4; //   reserved for narrow storage, with the scales of keys and values; 0 is f32
export const TILE_K_SCALES: usize = 6 * 4;
export const TILE_V_SCALES: usize = 7 * 4;
export const TILE_BYTES: usize = 8 * 4;

// Scratch: the keys that each group of rows sees, a score tile, a tile for the last columns of V, the packed queries, and finally
// the block's state. In a score tile, keys run down and rows run across:
//
//            row 0  row 1  …  row 7
//   key t      s      s         s      32 bytes
//   key t+1    s      s         s
//
// With few rows (kernels/attention-rows.ts) groups have four, and each row's scores of 64 keys lie one after the other. Behind them is
// room for the same scores by columns, 16 bytes per key.
const BLOCK_COLUMN: usize = BLOCK_ROWS * 4;
export const GROUP_LOW: usize = 0 * BLOCK_COLUMN;
export const GROUP_HIGH: usize = 1 * BLOCK_COLUMN;
export const TOUCHED: usize = 2 * BLOCK_COLUMN; // where reads ahead leave what they read
export const SCORES: usize = 3 * BLOCK_COLUMN;
export const SCORE_COLUMNS: usize = SCORES + TILE_KEYS * 16;
export const VALUE_TAIL: usize = SCORES + TILE_KEYS * 32;
export const PACKED_QUERIES: usize = VALUE_TAIL + TILE_KEYS * 32;

/** Bytes from one key to the next in a score tile, and from one row to the next if there are few. */
export const SCORE_PITCH: usize = GROUP_ROWS * 4;
export const SCORE_ROW: usize = TILE_KEYS * 4;

// The state of a block: running max and sum per row, then one accumulator per row.
export const STATE_MAX: usize = 0 * BLOCK_COLUMN;
export const STATE_SUM: usize = 1 * BLOCK_COLUMN;
export const STATE_ROWS: usize = 2 * BLOCK_COLUMN;

// What a call does besides computing its keys.
/** The block begins here: pack the queries, start the state. */
export const FIRST: u32 = 1;
/** The block ends here: normalize and write outputs and log-sum-exps. */
export const LAST: u32 = 2;
/** Restart the state: what it held has been merged into a total. */
export const RESTART: u32 = 4;

// Flags of a block: its rows have a bias, a mask.
export const BIAS: u32 = 1;
export const MASK: u32 = 2;

/** Where a block that is computed in `scratch` has its state. */
@inline export function stateIn(scratch: usize, dim: usize): usize {
  return scratch + PACKED_QUERIES + ((BLOCK_ROWS * dim) << 2);
}

/** Bytes of one accumulator row: the value dimension rounded up to eight. */
@inline export function accumulatorStride(valueDim: usize): usize {
  return ((valueDim + 7) & ~7) << 2;
}

/** The record of the tile that starts at key `t`. */
@inline export function tileRecord(block: usize, t: usize): usize {
  return load<usize>(block, PARAM_TILES) + (t >> 6) * load<usize>(block, PARAM_TILE_STEP);
}

/**
 * Keys (TILE_K) or values (TILE_V) of a record, addressed as if all keys before the tile lay in front of it at the same stride. Key j is
 * at this address + j · stride, wherever the tile is.
 */
@inline export function fromKey0(block: usize, record: usize, field: usize, stride: usize, t: usize): usize {
  return load<usize>(record + field) - (load<usize>(block, PARAM_TILE_STEP) ? t * stride : 0);
}

/** Address of a row's entries in the row table: add ROW_QUERY and so on. */
@inline export function rowEntry(block: usize, row: usize): usize {
  return block + (row >> 3) * ROW_GROUP + ((row & 7) << 2);
}
