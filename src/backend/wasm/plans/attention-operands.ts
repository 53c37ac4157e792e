import type { Gone, Pages, ScoreCall } from "../../../calls/attention-call.ts";
import { TILE_EMPTY, TILE_PARTIAL } from "../../../calls/block-mask.ts";
import { BLOCK_ROWS, TILE_KEYS } from "../../../calls/blocks.ts";
import type { ModuleMemory } from "../module/memory.ts";
import { type Block, type BlockSize, type RowPlaces, fillColumn, fillRanges } from "./attention-blocks.ts";
import {
  ALL_VISIBLE,
  BIAS,
  MASK,
  NOTHING_VISIBLE,
  PARAMETER,
  ROW_BIAS,
  ROW_LSE,
  ROW_MASK,
  ROW_OUT,
  ROW_QUERY,
  TILE,
  TILE_WORDS,
  descriptionWords,
} from "./attention-layout.ts";
import { BlockRows, HeadRows } from "./operand-rows.ts";
import { type Copy, Layout, type Table } from "./plan.ts";

/** Bytes of the mask of a tile: one for each row of a block and each key. */
const MASK_BYTES = BLOCK_ROWS * TILE_KEYS;

/** Words of a block's description, and where copies of its operands lie, in bytes from the start of their place in a stage. */
export interface BlockLayout {
  readonly words: number;
  readonly query: number;
  readonly bias: number;
  readonly mask: number;
  readonly tiles: number;
  readonly bytes: number;
}

/** Some keys of a block, and where their description for kernels goes. */
interface Described {
  readonly block: Block;
  readonly from: number;
  readonly to: number;
  readonly first: boolean;
  readonly description: number;
  readonly copies: number;
}

/** Words that are 0, to be written to module memory, as integers and as floats. */
export interface Words {
  readonly i32: Int32Array;
  readonly f32: Float32Array;
}

/** A call's operands as kernels see them: descriptions of blocks, and copies of operands that cannot be used in place. */
export class BlockOperands {
  /** Room for the copies of a head's keys and values. */
  readonly headBytes: number;
  /** The part of a block's copies that grows with the number of keys. */
  readonly bytesPerKey: number;
  readonly #call: ScoreCall;
  readonly #sizes: readonly BlockSize[];
  readonly #rows: number;
  readonly #queries: BlockRows;
  readonly #keys: HeadRows;
  readonly #values: HeadRows | undefined;
  readonly #valuesAt: number;
  readonly #biases: BlockRows | undefined;
  readonly #masks: BlockRows | undefined;
  /** Whether each tile has a record of its own; otherwise one covers all keys. */
  readonly #recordPerTile: boolean;

  /** `longest` is the largest number of keys that a sequence looks at. */
  constructor(call: ScoreCall, memory: ModuleMemory, sizes: readonly BlockSize[], longest: number) {
    const { q, k, v, bias, mask } = call.operands;
    this.#call = call;
    this.#sizes = sizes;
    this.#rows = sizes.reduce((most, { heads, queries }) => Math.max(most, heads * queries), 0);
    this.#queries = new BlockRows(memory, q.data, q, q.dim);
    this.#keys = new HeadRows(memory, k, call.dim, call.pages);
    this.#values = v && new HeadRows(memory, v, call.valueDim, call.pages);
    this.#biases = bias && new BlockRows(memory, bias.data, bias, bias.key);
    this.#masks = mask && new BlockRows(memory, mask.data, mask, mask.key);
    const layout = new Layout();
    layout.take(this.#keys.roomFor(longest));
    this.#valuesAt = layout.take(this.#values?.roomFor(longest) ?? 0);
    this.headBytes = layout.bytes;
    this.#recordPerTile = call.blockMask !== undefined || call.pages !== undefined;
    const tiles = call.blockMask === undefined ? 0 : BLOCK_ROWS + (TILE_WORDS * 4) / TILE_KEYS;
    this.bytesPerKey = (this.#biases?.roomFor(sizes, 1) ?? 0) + (this.#masks?.roomFor(sizes, 1) ?? 0) + tiles;
  }

  /** How a block's data is laid out, for parts of `keys` keys. */
  layout(keys: number): BlockLayout {
    const { blockMask, pages, dim } = this.#call;
    const layout = new Layout();
    return {
      words: descriptionWords(this.#rows) + (this.#recordPerTile ? keys / TILE_KEYS : 1) * TILE_WORDS,
      query: layout.take(this.#queries.roomFor(this.#sizes, dim)),
      bias: layout.take(this.#biases?.roomFor(this.#sizes, keys) ?? 0),
      mask: layout.take(this.#masks?.roomFor(this.#sizes, keys) ?? 0),
      tiles: layout.take(blockMask !== undefined ? keys * BLOCK_ROWS : pages?.gone.some(isSome) === true ? 2 * MASK_BYTES : 0),
      bytes: layout.bytes,
    };
  }

  /** Copies the keys and values that a block's head looks at to `place`, except those used in place. */
  loadHead(block: Block, place: number, into: Copy[]): void {
    const { low, count } = block.span;
    if (count === 0) return;
    this.#keys.copyIn(block, place, low, count, into);
    this.#values?.copyIn(block, place + this.#valuesAt, low, count, into);
  }

  /**
   * Describes some keys of a block to kernels, in words from `start` on, and copies the operands they need. `head` is where the head's
   * copies are.
   */
  describe(
    { block, from, to, first, description, copies }: Described,
    at: BlockLayout,
    head: number,
    results: { readonly out: RowPlaces; readonly lse: RowPlaces | undefined },
    { i32, f32 }: Words,
    start: number,
    stage: { readonly tables: Table[]; readonly in: Copy[] },
  ): void {
    const { dim, valueDim, scale, softcap, blockMask, pages } = this.#call;
    const [queries, biases, masks] = [this.#queries, this.#biases, this.#masks];
    const rows = block.heads * block.queries;
    const recordsAt = descriptionWords(rows);
    i32[start + PARAMETER.rows] = rows;
    i32[start + PARAMETER.dim] = dim;
    i32[start + PARAMETER.valueDim] = valueDim;
    f32[start + PARAMETER.scale] = scale;
    f32[start + PARAMETER.softcap] = softcap;
    i32[start + PARAMETER.flags] = (biases === undefined ? 0 : BIAS) | (masks === undefined ? 0 : MASK);
    // The record of key 0, which may lie before the first record that exists.
    i32[start + PARAMETER.tiles] = description + (recordsAt - (this.#recordPerTile ? from / TILE_KEYS : 0) * TILE_WORDS) * 4;
    i32[start + PARAMETER.tileStep] = this.#recordPerTile ? TILE_WORDS * 4 : 0;

    fillRanges(i32, f32, start, this.#call, block);
    fillColumn(i32, start + ROW_QUERY, block, queries.places(block, copies + at.query, dim, 0));
    fillColumn(i32, start + ROW_OUT, block, results.out);
    if (results.lse !== undefined) fillColumn(i32, start + ROW_LSE, block, results.lse);
    if (first && !queries.inPlace) stage.in.push(queries.copyIn(block, copies + at.query, dim, 0));
    if (biases !== undefined) {
      fillColumn(i32, start + ROW_BIAS, block, biases.places(block, copies + at.bias, to - from, from));
      if (!biases.inPlace && from < to) stage.in.push(biases.copyIn(block, copies + at.bias, to - from, from));
    }
    if (masks !== undefined) {
      fillColumn(i32, start + ROW_MASK, block, masks.places(block, copies + at.mask, to - from, from));
      if (!masks.inPlace && from < to) stage.in.push(masks.copyIn(block, copies + at.mask, to - from, from));
    }

    const records = this.#recordPerTile ? Math.ceil((to - from) / TILE_KEYS) : 1;
    for (let r = 0; r < records; r++) {
      const tile = this.#recordPerTile ? from / TILE_KEYS + r : 0;
      const record = start + recordsAt + r * TILE_WORDS;
      if (pages !== undefined && (pages.tables[block.sequence.batch]?.[tile] ?? -1) < 0) {
        i32[record + TILE.mask] = NOTHING_VISIBLE;
        continue;
      }
      i32[record + TILE.k] = this.#keys.addressOf(block, tile, head, block.span.low);
      i32[record + TILE.kStride] = this.#keys.stride;
      if (this.#values !== undefined) {
        i32[record + TILE.v] = this.#values.addressOf(block, tile, head + this.#valuesAt, block.span.low);
        i32[record + TILE.vStride] = this.#values.stride;
      }
      if (blockMask !== undefined) i32[record + TILE.mask] = this.#maskTile(block, tile, copies + at.tiles + r * MASK_BYTES, stage.tables);
      else if (pages !== undefined) i32[record + TILE.mask] = this.#maskGone(pages, block.sequence.batch, tile, copies + at.tiles, stage.tables);
    }
  }

  /** What a block sees of a tile. The bytes of a partial tile are written to `address`. */
  #maskTile({ sequence, head, query }: Block, tile: number, address: number, tables: Table[]): number {
    const { blockMask } = this.#call;
    const queryTile = Math.floor(query / TILE_KEYS);
    const kind = blockMask?.kindOf(sequence.batch, head, queryTile, tile);
    if (kind === TILE_EMPTY) return NOTHING_VISIBLE;
    const bytes = kind === TILE_PARTIAL ? blockMask?.bytesOf(sequence.batch, head, queryTile, tile) : undefined;
    if (bytes === undefined) return ALL_VISIBLE;
    tables.push({ address, words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4) });
    return address + (query % TILE_KEYS) * TILE_KEYS;
  }

  /** What is left of a tile of a cache. The bytes of a tile with keys that are gone are written to one of two places from `address` on. */
  #maskGone({ gone }: Pages, batch: number, tile: number, address: number, tables: Table[]): number {
    const { from, to } = gone[batch] ?? NOTHING_GONE;
    const first = tile * TILE_KEYS;
    if (from >= to || first >= to || first + TILE_KEYS <= from) return ALL_VISIBLE;
    const bytes = new Uint8Array(MASK_BYTES);
    for (let i = 0; i < MASK_BYTES; i++) {
      const key = first + (i % TILE_KEYS);
      bytes[i] = key < from || key >= to ? 1 : 0;
    }
    // Keys can be gone from the tile where the sink tokens end, and from the one where the window begins.
    const place = address + (first <= from ? 0 : MASK_BYTES);
    tables.push({ address: place, words: new Int32Array(bytes.buffer) });
    return place;
  }
}

const NOTHING_GONE: Gone = { from: 0, to: 0 };

function isSome({ from, to }: Gone): boolean {
  return from < to;
}
