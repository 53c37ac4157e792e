/** Queries, and keys, per side of a tile. */
export const TILE = 64;

/** Contents of a tile: nothing visible, a mix, everything visible. */
export const TILE_EMPTY = 0;
export const TILE_PARTIAL = 1;
export const TILE_FULL = 2;

/** Whether query `q` of head `h` in batch `b` may attend to key `k`, like FlexAttention's `mask_mod`. Indices, not positions. */
export type MaskMod = (b: number, h: number, q: number, k: number) => boolean;

/** Options of {@link createBlockMask}. */
export interface BlockMaskOptions {
  /** Number of queries. */
  readonly queryLength: number;
  /** Number of keys. */
  readonly keyLength: number;
  /** 1 (default) means one mask for all batches. */
  readonly batch?: number;
  /** Query heads; 1 (default) means one mask for all of them. */
  readonly heads?: number;
}

/**
 * A mask in tiles of 64 × 64 (queries by keys). Attention skips empty tiles and does not look at the mask of full ones; only the
 * others have mask bytes. Created by {@link createBlockMask}.
 */
export class BlockMask {
  /** 1: one mask for all batches. */
  readonly batch: number;
  /** Query heads; 1: one mask for all of them. */
  readonly heads: number;
  /** Number of queries. */
  readonly queryLength: number;
  /** Number of keys. */
  readonly keyLength: number;
  readonly #kinds: Uint8Array;
  /** 64 × 64 bytes for each partial tile, by tile index. */
  readonly #partial = new Map<number, Uint8Array>();

  /** @internal */
  constructor(maskMod: MaskMod, options: Required<BlockMaskOptions>) {
    this.batch = options.batch;
    this.heads = options.heads;
    this.queryLength = options.queryLength;
    this.keyLength = options.keyLength;
    this.#kinds = new Uint8Array(this.batch * this.heads * this.queryTiles * this.keyTiles);
    for (let b = 0; b < this.batch; b++) {
      for (let h = 0; h < this.heads; h++) {
        for (let i = 0; i < this.queryTiles; i++) for (let j = 0; j < this.keyTiles; j++) this.#fill(maskMod, b, h, i, j);
      }
    }
  }

  /** Tiles along the queries; the last one may be partial. */
  get queryTiles(): number {
    return Math.ceil(this.queryLength / TILE);
  }

  /** Tiles along the keys; the last one may be partial. */
  get keyTiles(): number {
    return Math.ceil(this.keyLength / TILE);
  }

  /** The fraction of the tiles that attention skips, from 0 to 1. */
  get sparsity(): number {
    let empty = 0;
    for (const kind of this.#kinds) if (kind === TILE_EMPTY) empty++;
    return this.#kinds.length === 0 ? 0 : empty / this.#kinds.length;
  }

  /** TILE_EMPTY, TILE_PARTIAL or TILE_FULL. @internal */
  kindOf(b: number, h: number, queryTile: number, keyTile: number): number {
    return this.#kinds[this.#index(b, h, queryTile, keyTile)] ?? TILE_EMPTY;
  }

  /** The bytes of a partial tile, row-major. @internal */
  bytesOf(b: number, h: number, queryTile: number, keyTile: number): Uint8Array | undefined {
    return this.#partial.get(this.#index(b, h, queryTile, keyTile));
  }

  #index(b: number, h: number, queryTile: number, keyTile: number): number {
    return (((this.batch === 1 ? 0 : b) * this.heads + (this.heads === 1 ? 0 : h)) * this.queryTiles + queryTile) * this.keyTiles + keyTile;
  }

  #fill(maskMod: MaskMod, b: number, h: number, i: number, j: number): void {
    const rows = Math.min(TILE, this.queryLength - i * TILE);
    const cols = Math.min(TILE, this.keyLength - j * TILE);
    const bytes = new Uint8Array(TILE * TILE);
    let visible = 0;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) {
        if (!maskMod(b, h, i * TILE + r, j * TILE + c)) continue;
        bytes[r * TILE + c] = 1;
        visible++;
      }
    }
    const index = this.#index(b, h, i, j);
    this.#kinds[index] = visible === 0 ? TILE_EMPTY : visible === rows * cols ? TILE_FULL : TILE_PARTIAL;
    if (this.#kinds[index] === TILE_PARTIAL) this.#partial.set(index, bytes);
  }
}
