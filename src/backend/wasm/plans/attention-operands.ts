import type { ScoreCall } from "../../../calls/attention-call.ts";
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

  /** `longest` is the largest number of keys that a sequence looks at. */
  constructor(call: ScoreCall, memory: ModuleMemory, sizes: readonly BlockSize[], longest: number) {
    const { q, k, v, bias, mask } = call.operands;
    this.#call = call;
    this.#sizes = sizes;
    this.#rows = sizes.reduce((most, { heads, queries }) => Math.max(most, heads * queries), 0);
    this.#queries = new BlockRows(memory, q.data, q, q.dim);
    this.#keys = new HeadRows(memory, k, call.dim);
    this.#values = v && new HeadRows(memory, v, call.valueDim);
    this.#biases = bias && new BlockRows(memory, bias.data, bias, bias.key);
    this.#masks = mask && new BlockRows(memory, mask.data, mask, mask.key);
    const layout = new Layout();
    layout.take(this.#keys.roomFor(longest));
    this.#valuesAt = layout.take(this.#values?.roomFor(longest) ?? 0);
    this.headBytes = layout.bytes;
    const tiles = call.blockMask === undefined ? 0 : BLOCK_ROWS + (TILE_WORDS * 4) / TILE_KEYS;
    this.bytesPerKey = (this.#biases?.roomFor(sizes, 1) ?? 0) + (this.#masks?.roomFor(sizes, 1) ?? 0) + tiles;
  }

  /** How a block's data is laid out, for parts of `keys` keys. */
  layout(keys: number): BlockLayout {
    const { blockMask, dim } = this.#call;
    const layout = new Layout();
    return {
      words: descriptionWords(this.#rows) + (blockMask === undefined ? 1 : keys / TILE_KEYS) * TILE_WORDS,
      query: layout.take(this.#queries.roomFor(this.#sizes, dim)),
      bias: layout.take(this.#biases?.roomFor(this.#sizes, keys) ?? 0),
      mask: layout.take(this.#masks?.roomFor(this.#sizes, keys) ?? 0),
      tiles: layout.take(blockMask === undefined ? 0 : keys * BLOCK_ROWS),
      bytes: layout.bytes,
    };
  }

  /** Copies the keys and values that a block's head looks at to `place`, except those used in place. */
  loadHead(block: Block, place: number, into: Copy[]): void {
    const { low, count } = block.span;
    if (count === 0) return;
    if (!this.#keys.inPlace) into.push(this.#keys.copyIn(block, place, low, count));
    if (this.#values?.inPlace === false) into.push(this.#values.copyIn(block, place + this.#valuesAt, low, count));
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
    const { dim, valueDim, scale, softcap, blockMask } = this.#call;
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
    i32[start + PARAMETER.tiles] = description + (recordsAt - (blockMask === undefined ? 0 : from / TILE_KEYS) * TILE_WORDS) * 4;
    i32[start + PARAMETER.tileStep] = blockMask === undefined ? 0 : TILE_WORDS * 4;

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

    const keys = this.#keys.rows(block, head, block.span.low);
    const values = this.#values?.rows(block, head + this.#valuesAt, block.span.low);
    const records = blockMask === undefined ? 1 : Math.ceil((to - from) / TILE_KEYS);
    for (let r = 0; r < records; r++) {
      const tile = from / TILE_KEYS + r;
      const key = blockMask === undefined ? 0 : tile * TILE_KEYS;
      const record = start + recordsAt + r * TILE_WORDS;
      i32[record + TILE.k] = keys.address + key * keys.stride;
      i32[record + TILE.kStride] = keys.stride;
      if (values !== undefined) {
        i32[record + TILE.v] = values.address + key * values.stride;
        i32[record + TILE.vStride] = values.stride;
      }
      if (blockMask !== undefined) i32[record + TILE.mask] = this.#maskTile(block, tile, copies + at.tiles + r * TILE_KEYS * BLOCK_ROWS, stage.tables);
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
}
