import type { Sequence } from "../../../calls/attention-call.ts";
import { type BlockMask, TILE_EMPTY, TILE_PARTIAL } from "../../../calls/block-mask.ts";
import { TILE, TILE_OPEN, TILE_SKIPPED } from "../kernels/score-modifiers.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";

/** Words that kernels look up: those shared by all parts of a call, then those that each part adds. All are uploaded together. */
export class Tables {
  readonly #shared: readonly Uint32Array[];
  readonly #own: number[] = [];
  readonly #ownAt: number;

  constructor(shared: readonly Uint32Array[]) {
    this.#shared = shared;
    this.#ownAt = shared.reduce((length, { length: more }) => length + more, 0);
  }

  /** Where the next word will be. */
  get length(): number {
    return this.#ownAt + this.#own.length;
  }

  push(...words: readonly number[]): void {
    this.#own.push(...words);
  }

  upload(recorder: Recorder): Slice {
    const words = new Uint32Array(this.length);
    let at = 0;
    for (const some of [...this.#shared, this.#own]) {
      words.set(some, at);
      at += some.length;
    }
    return recorder.upload(new Uint8Array(words.buffer));
  }
}

/** Words of a partial tile: one bit per pair, two words per row. */
const TILE_WORDS = (TILE * TILE) / 32;

const TILE_TABLES = new WeakMap<BlockMask, Uint32Array>();

/**
 * One word for each tile of a block mask, by batch, head, row of tiles and column, followed by the bits of the partial tiles. Made once per
 * mask: 10 ms for 4096 partial tiles.
 */
export function tileTable(mask: BlockMask): Uint32Array {
  let table = TILE_TABLES.get(mask);
  if (table === undefined) TILE_TABLES.set(mask, (table = makeTileTable(mask)));
  return table;
}

function makeTileTable(mask: BlockMask): Uint32Array {
  const { batch, heads, queryTiles, keyTiles } = mask;
  const perHead = tilesPerHead(mask);
  // Offsets of bits must differ from the words that mean "skipped" and "open".
  const bitsAt = Math.max(batch * heads * perHead, TILE_OPEN + 1);
  const words: number[] = [];
  const partial: Uint8Array[] = [];
  for (let tile = 0; tile < batch * heads * perHead; tile++) {
    const at = [Math.floor(tile / perHead / heads), Math.floor(tile / perHead) % heads, Math.floor(tile / keyTiles) % queryTiles, tile % keyTiles] as const;
    const kind = mask.kindOf(...at);
    const bytes = kind === TILE_PARTIAL ? mask.bytesOf(...at) : undefined;
    words.push(bytes === undefined ? (kind === TILE_EMPTY ? TILE_SKIPPED : TILE_OPEN) : bitsAt + TILE_WORDS * (partial.push(bytes) - 1));
  }
  const table = new Uint32Array(bitsAt + TILE_WORDS * partial.length);
  table.set(words);
  let at = bitsAt;
  for (const bytes of partial) {
    for (let word = 0; word < bytes.length; word += 32) {
      let bits = 0;
      for (let bit = 0; bit < 32; bit++) if (bytes[word + bit] !== 0) bits |= 1 << bit;
      table[at++] = bits;
    }
  }
  return table;
}

export function tilesPerHead({ queryTiles, keyTiles }: BlockMask): number {
  return queryTiles * keyTiles;
}

/** Where the tiles of a sequence's first head begin. */
export function firstTile(mask: BlockMask, { batch, queryStart }: Sequence): number {
  return (mask.batch === 1 ? 0 : batch * mask.heads * tilesPerHead(mask)) + (queryStart / TILE) * mask.keyTiles;
}

/** The bits of numbers, as words. */
export function wordsOf(numbers: Float32Array | undefined): Uint32Array {
  return numbers === undefined ? new Uint32Array() : new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
}
