// Where everything lies during a call. A block is up to 64 rows that attend to the same keys: 64 queries of one head, or the
// few queries of all heads that share a key/value head. Rows are described by a table of columns, so that four rows load as
// one vector; src/backend/wasm/attention-layout.ts holds the same numbers.

/** Rows of a block, and keys of a tile. */
export const BLOCK_ROWS: usize = 64;
export const TILE_KEYS: usize = 64;
/** Bytes of one column of the row table. */
const COLUMN: usize = BLOCK_ROWS << 2;
export const ROW_QUERY: usize = 0 * COLUMN; // address of the query
export const ROW_OUT: usize = 1 * COLUMN; //   address of the output row
export const ROW_LSE: usize = 2 * COLUMN; //   address of the log-sum-exp, or 0
export const ROW_MASK: usize = 3 * COLUMN; //  address of the mask byte of key 0, if MASK is set
export const ROW_BIAS: usize = 4 * COLUMN; //  address of the bias of key 0, if BIAS is set
export const ROW_LOW: usize = 5 * COLUMN; //   i32: first visible key
export const ROW_HIGH: usize = 6 * COLUMN; //  i32: one past the last visible key; LOW = HIGH = 0 for none
export const ROW_POSITION: usize = 7 * COLUMN; // f32: position among the keys, for ALiBi
export const ROW_SLOPE: usize = 8 * COLUMN; // f32: ALiBi slope
export const ROW_SINK: usize = 9 * COLUMN; //  f32: sink logit, −inf for none

// Scratch: the keys that each group of rows sees, a score tile, a tile for the last columns of V, the packed queries, and last
// the block's state. `keys` of a score tile run down, rows across:
//
//            row 0  row 1  …  row 7
//   key t      s      s         s      32 bytes (16 for four rows)
//   key t+1    s      s         s
export const GROUP_LOW: usize = 0 * COLUMN;
export const GROUP_HIGH: usize = 1 * COLUMN;
export const TOUCHED: usize = 2 * COLUMN; // where reads ahead leave what they read
export const SCORES: usize = 3 * COLUMN;
export const VALUE_TAIL: usize = SCORES + TILE_KEYS * 32;
export const PACKED_QUERIES: usize = VALUE_TAIL + TILE_KEYS * 32;

// The state of a block: running max and sum per row, then the accumulators, row after row.
export const STATE_MAX: usize = 0 * COLUMN;
export const STATE_SUM: usize = 1 * COLUMN;
export const STATE_ROWS: usize = 2 * COLUMN;

// Flags of a call.
/** The block begins here: pack the queries, start the state. */
export const FIRST: u32 = 1;
/** The block ends here: normalize and write outputs and log-sum-exps. */
export const LAST: u32 = 2;
/** Start the state anew: what it held has been merged into a total. */
export const RESTART: u32 = 4;
/** The rows have a bias, a mask, a table of tiles. */
export const BIAS: u32 = 8;
export const MASK: u32 = 16;
export const TILES: u32 = 32;

/** Where the state of a block lies that is computed in `scratch`. */
@inline export function stateIn(scratch: usize, dim: usize): usize {
  return scratch + PACKED_QUERIES + ((BLOCK_ROWS * dim) << 2);
}

/** Bytes of one accumulator row: the value dimension rounded up to eight. */
@inline export function accumulatorStride(valueDim: usize): usize {
  return ((valueDim + 7) & ~7) << 2;
}
