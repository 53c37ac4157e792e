import type { HeadOperand, RowStrides } from "../../../calls/attention-call.ts";
import { type ArrayHandle, BYTES } from "../../../tensor/array.ts";
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
    this.bytes = BYTES[data.dtype];
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

/** Rows at a fixed distance in module memory. Address and distance are in bytes. */
export interface Strided {
  readonly address: number;
  readonly stride: number;
}

/** Keys or values. A head's rows are used in place, or the ones looked at are copied. */
export class HeadRows {
  readonly inPlace: boolean;
  readonly #operand: HeadOperand;
  readonly #address: number;
  readonly #dim: number;

  constructor(memory: ModuleMemory, operand: HeadOperand, dim: number) {
    this.#operand = operand;
    this.#address = operand.data.addressIn(memory);
    this.#dim = dim;
    this.inPlace = this.#address >= 0 && operand.dim === 1;
  }

  /** Room for `rows` rows; 0 if they are used in place. */
  roomFor(rows: number): number {
    return this.inPlace ? 0 : rows * this.#dim * 4;
  }

  /** A head's rows, addressed from key 0. A copy at `copy` holds the rows from `low` on, so key 0 may lie before it. */
  rows(block: Block, copy: number, low: number): Strided {
    if (this.inPlace) return { address: this.#address + this.#offset(block) * 4, stride: this.#operand.row * 4 };
    const stride = this.#dim * 4;
    return { address: copy - low * stride, stride };
  }

  /** Copies rows `low` … `low + count` to `address`. */
  copyIn(block: Block, address: number, low: number, count: number): Copy {
    const { data, row, dim } = this.#operand;
    const dims: CopyDim[] = [{ size: this.#dim, from: dim, to: 1 }];
    addOuter(dims, count, row, this.#dim);
    return { array: data, at: this.#offset(block) + low * row, address, dims, columns: 0 };
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
