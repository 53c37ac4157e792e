import type { HeadOperand, Pages } from "../../../calls/attention-call.ts";
import { TILE_KEYS } from "../../../calls/blocks.ts";
import { ArrayHandle, BYTES } from "../../../tensor/array.ts";
import { PagePool } from "./page-pool.ts";
import type { ModuleMemory } from "./memory.ts";

/** The sizes of a cache. */
export interface CacheSizes {
  readonly batch: number;
  /** Of keys and values. */
  readonly heads: number;
  readonly dim: number;
  readonly valueDim: number;
  /** How they are stored; i8 has a scale for each head's key or value. */
  readonly dtype: "f32" | "f16" | "bf16" | "i8";
  /** How many of the latest keys are kept, and how many of the first ones besides. */
  readonly window: number;
  readonly sinkTokens: number;
}

/** Tokens to write into a page: `count` tokens of a batch entry from `token` on, to the page's key `key` and those behind it. */
export interface Segment {
  readonly batch: number;
  readonly token: number;
  readonly count: number;
  readonly page: number;
  readonly key: number;
  /** A page to copy first, which others still use; −1 for none. */
  readonly original: number;
}

/**
 * The keys and values of a cache, in pages of 64 tokens. A page holds the keys of all heads, then the values:
 *
 *   head 0: key 0 … key 63 | head 1: … | head 0: value 0 … value 63 | head 1: …
 *
 * In i8, the scales of all keys and then of all values follow.
 *
 * Only keeps books: `append` says what to write where.
 */
export class PagedKeys {
  readonly sizes: CacheSizes;
  readonly #pool: PagePool;
  /** For each batch entry, the address of each tile's page; −1 for a tile that is gone. */
  readonly #tables: number[][];
  readonly #lengths: Int32Array;
  /** For each batch entry, the first key behind the sink tokens that is kept. */
  readonly #first: Int32Array;

  /** `original`: what to share pages with. */
  constructor(memory: ModuleMemory, sizes: CacheSizes, original?: PagedKeys) {
    const { batch, heads, dim, valueDim, dtype } = sizes;
    const rowBytes = (dim + valueDim) * BYTES[dtype] + (dtype === "i8" ? 2 * BYTES.f32 : 0);
    this.sizes = sizes;
    this.#pool = original === undefined ? new PagePool(memory, TILE_KEYS * heads * rowBytes) : original.#pool;
    this.#tables = Array.from({ length: batch }, (_, b) => (original === undefined ? [] : (original.#tables[b] ?? []).slice()));
    this.#lengths = original === undefined ? new Int32Array(batch) : original.#lengths.slice();
    this.#first = original === undefined ? new Int32Array(batch) : original.#first.slice();
    for (const table of this.#tables) for (const page of table) if (page >= 0) this.#pool.hold(page);
  }

  /** Tokens in each batch entry. */
  get lengths(): Int32Array {
    return this.#lengths;
  }

  /** Bytes of all pages, shared ones included. */
  get bytes(): number {
    return this.#pool.pageBytes * this.#tables.reduce((count, table) => count + table.filter((page) => page >= 0).length, 0);
  }

  /** Keys and values as operands of attention, as they are now. */
  get operands(): { readonly k: HeadOperand; readonly v: HeadOperand; readonly pages: Pages } {
    const { heads, dim, valueDim, dtype, sinkTokens } = this.sizes;
    const { memory } = this.#pool;
    const rows = TILE_KEYS * heads;
    const end = rows * (dim + valueDim) * BYTES[dtype];
    const part = (start: number, width: number, scalesAt: number): HeadOperand => ({
      data: ArrayHandle.inModule(
        memory,
        dtype,
        start,
        rows * width,
        dtype === "i8" ? { data: ArrayHandle.inModule(memory, "f32", scalesAt, rows), rowLength: width } : undefined,
      ),
      batch: 0,
      head: TILE_KEYS * width,
      row: width,
      dim: 1,
    });
    return {
      k: part(0, dim, end),
      v: part(rows * dim * BYTES[dtype], valueDim, end + rows * BYTES.f32),
      pages: {
        tables: this.#tables.map((table) => table.slice()),
        gone: Array.from(this.#first, (first) => ({ from: sinkTokens, to: Math.max(sinkTokens, first) })),
      },
    };
  }

  /**
   * Makes room for `counts[b]` more tokens of each batch entry, and lets go of what leaves the window.
   *
   * @returns what to write where: the tokens that stay
   * @throws BackendError if memory runs out; nothing has changed then
   */
  append(counts: readonly number[]): Segment[] {
    const places: (Segment & { readonly tile: number })[] = [];
    let missing = 0;
    counts.forEach((count, batch) => {
      const { window, sinkTokens } = this.sizes;
      const length = this.#lengths[batch] ?? 0;
      const first = Math.max(this.#first[batch] ?? 0, length + count - window);
      for (let tile = Math.floor(length / TILE_KEYS); tile * TILE_KEYS < length + count; tile++) {
        const from = Math.max(tile * TILE_KEYS, length);
        const to = Math.min((tile + 1) * TILE_KEYS, length + count);
        if (from >= sinkTokens && to <= first) continue;
        const page = this.#tables[batch]?.[tile] ?? -1;
        const taken = page >= 0 && !this.#pool.isShared(page) ? page : -1;
        if (taken < 0) missing++;
        places.push({ batch, token: from - length, count: to - from, page: taken, key: from % TILE_KEYS, original: taken < 0 ? page : -1, tile });
      }
    });
    const fresh = this.#pool.take(missing);
    counts.forEach((count, batch) => this.#extend(batch, count));
    return places.map((place) => {
      const { batch, tile, original } = place;
      const table = this.#tables[batch];
      if (place.page >= 0 || table === undefined) return place;
      const page = fresh.pop() ?? -1;
      table[tile] = page;
      if (original >= 0) this.#pool.release(original);
      return { ...place, page };
    });
  }

  /** Copies the page that a segment's page begins as, if there is one. */
  copyOriginal({ original, page }: Segment): void {
    if (original >= 0) this.#pool.copy(original, page);
  }

  /** Forgets the tokens of a batch entry from `length` on. */
  truncate(batch: number, length: number): void {
    const table = this.#tables[batch] ?? [];
    for (const page of table.splice(Math.ceil(length / TILE_KEYS))) if (page >= 0) this.#pool.release(page);
    this.#lengths[batch] = length;
    this.#first[batch] = Math.min(this.#first[batch] ?? 0, length);
  }

  /** Lets go of all pages. */
  dispose(): void {
    this.#tables.forEach((_, batch) => this.truncate(batch, 0));
  }

  #extend(batch: number, count: number): void {
    const { window, sinkTokens } = this.sizes;
    const table = this.#tables[batch] ?? [];
    const length = (this.#lengths[batch] ?? 0) + count;
    const before = this.#first[batch] ?? 0;
    const first = Math.max(before, length - window);
    this.#lengths[batch] = length;
    this.#first[batch] = first;
    for (let tile = table.length; tile < Math.ceil(length / TILE_KEYS); tile++) table.push(-1);
    for (let tile = Math.max(Math.ceil(sinkTokens / TILE_KEYS), Math.floor(before / TILE_KEYS)); tile < Math.floor(first / TILE_KEYS); tile++) {
      const page = table[tile] ?? -1;
      if (page >= 0) this.#pool.release(page);
      table[tile] = -1;
    }
  }
}
