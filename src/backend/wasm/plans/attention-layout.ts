// The same numbers as in assembly/attention/layout.ts; test/kernels/layout.test.ts compares the two.
import { BLOCK_ROWS, TILE_KEYS } from "../../../calls/blocks.ts";

/** The parameters of a block, in order, four bytes each. */
export const PARAMETERS = [
  "rows",
  "dim",
  "valueDim",
  /** f32 */
  "scale",
  /** f32 */
  "softcap",
  "flags",
  /** The record of the first tile, and the distance to the next in bytes: 0 if one record covers all keys. */
  "tiles",
  "tileStep",
] as const;

/** A tile record: where 64 keys and their values lie, and which of them a block's rows see. The last three fields are for narrow storage. */
export const TILE_RECORD = ["k", "v", "kStride", "vStride", "mask", "dtypes", "kScales", "vScales"] as const;

/** The position of each field, in words from the start of its record. */
export const PARAMETER = wordsOf(PARAMETERS);
export const TILE = wordsOf(TILE_RECORD);

function wordsOf<Name extends string>(fields: readonly Name[]): Readonly<Record<Name, number>> {
  return Object.fromEntries(fields.map((name, word) => [name, word])) as Record<Name, number>;
}

/** `mask` of a tile record: no key is visible, or all are. Any other value is the address of one byte per row and key. */
export const NOTHING_VISIBLE = -1;
export const ALL_VISIBLE = 0;

/** Words of the parameters and of a tile record. */
const PARAMETER_WORDS = 16;
export const TILE_WORDS = TILE_RECORD.length;

/** The row table follows the parameters: groups of GROUP_ROWS rows, with a column for each field. Column offsets are in words. */
export const GROUP_ROWS = 8;
export const ROW_QUERY = PARAMETER_WORDS + 0 * GROUP_ROWS;
export const ROW_OUT = PARAMETER_WORDS + 1 * GROUP_ROWS;
export const ROW_LSE = PARAMETER_WORDS + 2 * GROUP_ROWS;
export const ROW_MASK = PARAMETER_WORDS + 3 * GROUP_ROWS;
export const ROW_BIAS = PARAMETER_WORDS + 4 * GROUP_ROWS;
export const ROW_LOW = PARAMETER_WORDS + 5 * GROUP_ROWS;
export const ROW_HIGH = PARAMETER_WORDS + 6 * GROUP_ROWS;
export const ROW_POSITION = PARAMETER_WORDS + 7 * GROUP_ROWS;
export const ROW_SLOPE = PARAMETER_WORDS + 8 * GROUP_ROWS;
export const ROW_SINK = PARAMETER_WORDS + 9 * GROUP_ROWS;
/** Words of a group. */
export const ROW_GROUP = 10 * GROUP_ROWS;

/** Words of the parameters and row table of a block of `rows` rows. */
export function descriptionWords(rows: number): number {
  return PARAMETER_WORDS + Math.ceil(rows / GROUP_ROWS) * ROW_GROUP;
}

/** The position of row `r` in a column of the row table. */
export function entryOf(column: number, r: number): number {
  return column + (r >> 3) * ROW_GROUP + (r & (GROUP_ROWS - 1));
}

/** Bytes of scratch before the packed queries: key ranges of groups, what prefetching reads leave, a score tile, a tile of values. */
const PACKED_QUERIES = 3 * BLOCK_ROWS * 4 + 2 * TILE_KEYS * 32;

/** Bytes of the state of `rows` rows: max and sum for 64 rows, and an accumulator for each row. */
export function stateBytes(rows: number, valueDim: number): number {
  return 2 * BLOCK_ROWS * 4 + rows * Math.ceil(valueDim / 8) * 32;
}

/** Where a block that is computed in `scratch` has its state. */
export function stateIn(scratch: number, dim: number): number {
  return scratch + PACKED_QUERIES + BLOCK_ROWS * 4 * dim;
}

/** Scratch of a block: tiles, packed queries and the state. */
export function blockScratchBytes(dim: number, valueDim: number): number {
  return stateIn(0, dim) + stateBytes(BLOCK_ROWS, valueDim);
}

/** Modes of `attention_block_f32` and `attention_merge_f32`. */
export const FIRST = 1;
export const LAST = 2;
export const RESTART = 4;

/** Flags of a block. */
export const BIAS = 1;
export const MASK = 2;

/** The stage up to which `attention_scores_f32` computes a score. */
export const STAGE_RAW = 0;
export const STAGE_SOFTCAPPED = 1;
export const STAGE_MASKED = 2;
