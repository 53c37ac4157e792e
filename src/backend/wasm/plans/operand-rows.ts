import type { HeadOperand, Pages, RowStrides } from "../../../calls/attention-call.ts";
import { TILE_KEYS } from "../../../calls/blocks.ts";
import type { ArrayHandle } from "../../../tensor/array.ts";
import type { CopyDim } from "../../../tensor/copy-strided.ts";
import type { ModuleMemory } from "../module/memory.ts";
import type { Block, BlockSize, RowBox, RowPlaces } from "./attention-blocks.ts";
import type { Copy } from "./plan.ts";

/** Data with one row for each row of a block (queries, biases, outputs …). Kernels use it in place, or a copy of it. */
export class BlockRows {
  readonly inPlace: boolean;
  /** Bytes of an element. */
  readonly bytes: number;
  readonly #data: ArrayHandle;
  readonly #address: number;
  readonly #strides: RowStrides;
  readonly #inner: number;

  /** `inner` is the distance between neighbours in a row. */
  constructor(memory: ModuleMemory, data: ArrayHandle, strides: RowStrides, inner: number) {
    this.#data = data;
    this.#address = data.addressIn(memory);
    this.#strides = strides;
    this.#inner = inner;
    this.bytes = data.kernelBytes;
    this.inPlace = this.#address >= 0 && inner === 1;
  }

  /** Room for the rows of a block of any of these sizes, `width` elements each; 0 if they are used in place. Repeated rows are copied once. */
  roomFor(sizes: readonly BlockSize[], width: number): number {
    if (this.inPlace) return 0;
    const { head, row } = this.#strides;
    let rows = 0;
    for (const { heads, queries } of sizes) rows = Math.max(rows, (head === 0 ? 1 : heads) * (row === 0 ? 1 : queries));
    return rows * width * this.bytes;
  }

  /** Addresses of element 0 of a block's rows, in place or in a copy at `copy`. The copy itself begins with element `from`. */
  places(block: RowBox, copy: number, width: number, from: number): RowPlaces {
    const { bytes } = this;
    const strides = this.#strides;
    if (this.inPlace) return { first: this.#address + this.#offset(block) * bytes, head: strides.head * bytes, query: strides.row * bytes };
    const query = strides.row === 0 ? 0 : width;
    const head = strides.head === 0 ? 0 : query === 0 ? width : block.queries * width;
    return { first: copy - from * bytes, head: head * bytes, query: query * bytes };
  }

  /** Copies elements `from` … `from + width` of a block's rows to `address`. */
  copyIn(block: RowBox, address: number, width: number, from: number): Copy {
    const { array, at, dims } = this.#copy(block, width, from);
    return { array, at, address, dims, columns: 0 };
  }

  /** The reverse. */
  copyOut(block: RowBox, address: number, width: number, from: number): Copy {
    const { array, at, dims } = this.#copy(block, width, from);
    return { array, at, address, dims: dims.map(({ size, from: outside, to: inside }) => ({ size, from: inside, to: outside })), columns: 0 };
  }

  #copy(block: RowBox, width: number, from: number): Pick<Copy, "array" | "at" | "dims"> {
    const { head, row } = this.#strides;
    const dims: CopyDim[] = [{ size: width, from: this.#inner, to: 1 }];
    const rows = row === 0 ? 1 : block.queries;
    if (rows > 1) addOuter(dims, rows, row, width);
    if (block.heads > 1 && head !== 0) addOuter(dims, block.heads, head, rows * width);
    return { array: this.#data, at: this.#offset(block) + from * this.#inner, dims };
  }

  #offset({ sequence, head, query }: RowBox): number {
    const strides = this.#strides;
    return sequence.batch * strides.batch + head * strides.head + (sequence.queryStart + query) * strides.row;
  }
}

/** Keys or values. A head's rows are used in place, or the ones looked at are copied. */
export class HeadRows {
  readonly #operand: HeadOperand;
  readonly #pages: Pages | undefined;
  readonly #address: number;
  readonly #dim: number;
  readonly #inPlace: boolean;

  constructor(memory: ModuleMemory, operand: HeadOperand, dim: number, pages: Pages | undefined) {
    this.#operand = operand;
    this.#pages = pages;
    this.#address = operand.data.addressIn(memory);
    this.#dim = dim;
    this.#inPlace = this.#address >= 0 && operand.dim === 1;
  }

  /** Room for `rows` rows; 0 if they are used in place. */
  roomFor(rows: number): number {
    return this.#inPlace ? 0 : rows * this.#dim * 4;
  }

  /** The distance between rows as kernels see them, in bytes. */
  get stride(): number {
    return (this.#inPlace ? this.#operand.row : this.#dim) * 4;
  }

  /** The address of the first of a tile's rows. A copy at `copy` holds the rows from `low` on, so that row may lie before it. */
  addressOf(block: Block, tile: number, copy: number, low: number): number {
    if (!this.#inPlace) return copy + (tile * TILE_KEYS - low) * this.stride;
    const page = this.#pages?.tables[block.sequence.batch]?.[tile];
    return this.#address + this.#offset(block) * 4 + (page ?? tile * TILE_KEYS * this.stride);
  }

  /** Copies rows `low` … `low + count` to `address`, unless they are used in place. */
  copyIn(block: Block, address: number, low: number, count: number, into: Copy[]): void {
    if (this.#inPlace) return;
    const { data, row, dim } = this.#operand;
    if (this.#pages !== undefined) {
      this.#copyPages(block, this.#pages, address, low, low + count, into);
      return;
    }
    const dims: CopyDim[] = [{ size: this.#dim, from: dim, to: 1 }];
    addOuter(dims, count, row, this.#dim);
    into.push({ array: data, at: this.#offset(block) + low * row, address, dims, columns: 0 });
  }

  /** Copies rows `low` … `high` from their pages. Those of a page that is gone are left out. */
  #copyPages(block: Block, { tables }: Pages, address: number, low: number, high: number, into: Copy[]): void {
    const { data } = this.#operand;
    const width = this.#dim;
    for (let tile = Math.floor(low / TILE_KEYS); tile * TILE_KEYS < high; tile++) {
      const [from, to] = [Math.max(tile * TILE_KEYS, low), Math.min((tile + 1) * TILE_KEYS, high)];
      const page = tables[block.sequence.batch]?.[tile] ?? -1;
      if (page < 0) continue;
      const row = block.kvHead * TILE_KEYS + (from % TILE_KEYS);
      const array = data.within(page, row * width, (to - from) * width);
      into.push({ array, at: 0, address: address + (from - low) * width * 4, dims: [{ size: (to - from) * width, from: 1, to: 1 }], columns: 0 });
    }
  }

  #offset({ sequence, kvHead }: Block): number {
    const { batch, head, row } = this.#operand;
    return sequence.batch * batch + kvHead * head + sequence.keyStart * row;
  }
}

/** Adds a dimension outside those of a copy, joined with the last one if one stride covers both on each side. */
function addOuter(dims: CopyDim[], size: number, from: number, to: number): void {
  const inner = dims.at(-1);
  if (inner !== undefined && from === inner.size * inner.from && to === inner.size * inner.to) {
    dims[dims.length - 1] = { size: size * inner.size, from: inner.from, to: inner.to };
  } else dims.push({ size, from, to });
}
