import type { GPUBufferLike } from "./gpu-types.ts";

/** Where numbers are stored: in an array of the caller, in module memory (where kernels compute), or in a GPU buffer. */
export type Place = "host" | "module" | "gpu";

/**
 * Storage types. Arithmetic is `f32`, whatever the storage; softmax, logSoftmax and logSumExp of `f64` compute in f64. `u8` is mask
 * bytes, and so is `i8` without scales. `i32` is indices and tokens.
 */
export type DType = "f32" | "f64" | "f16" | "bf16" | "u8" | "i8" | "i32";

/** What results are stored as. */
export type ResultType = "f32" | "f64" | "i32";

/** Bytes per element. */
export const BYTES: Readonly<Record<DType, number>> = { f32: 4, f64: 8, f16: 2, bf16: 2, u8: 1, i8: 1, i32: 4 };

/** A typed array, from this realm or another. */
export interface NumberView extends ArrayBufferView {
  readonly BYTES_PER_ELEMENT: number;
  readonly length: number;
}

/** Memory that kernels compute in. Growth replaces its buffer. */
export interface ModuleOwner {
  /** The current buffer. @throws DisposedError if there is none any more */
  readonly buffer: ArrayBufferLike;
  /** Keeps what is in it for a call, even numbers whose tensor is disposed of, until the returned function is called. */
  hold(): () => void;
}

/** The scales of quantised numbers: one for each row of `rowLength` numbers, which lie without gaps. */
export interface Scales {
  readonly data: ArrayHandle<"f32">;
  readonly rowLength: number;
}

/** Which memory a buffer belongs to, including buffers from before it grew. */
const OWNERS = new WeakMap<ArrayBufferLike, ModuleOwner>();

/** Registers a memory's buffer: from now on, arrays in it are found by their addresses. */
export function registerBuffer(buffer: ArrayBufferLike, owner: ModuleOwner): void {
  OWNERS.set(buffer, owner);
}

/**
 * Numbers stored somewhere: the form in which calls hold all operands and results. It becomes a typed array only when bytes are copied,
 * so nobody has to care whether memory has grown in between.
 */
export class ArrayHandle<D extends DType = DType> {
  readonly place: Place;
  readonly dtype: D;
  /** What holds the numbers. Two arrays can overlap only if they have the same owner. */
  readonly owner: ArrayBufferLike | ModuleOwner | GPUBufferLike;
  /** Where they start in the owner; in module memory, their address. */
  readonly byteOffset: number;
  /** How many there are. */
  readonly length: number;
  /** Of i8 that stands for floats. */
  readonly scales: Scales | undefined;
  /** The caller's array, 16-bit floats as their bits, and the argument that it was. */
  readonly #host: NumberView | undefined;
  readonly #name: string;

  private constructor(place: Place, dtype: D, owner: ArrayHandle["owner"], byteOffset: number, length: number, scales?: Scales, host?: NumberView, name = "") {
    this.place = place;
    this.dtype = dtype;
    this.owner = owner;
    this.byteOffset = byteOffset;
    this.length = length;
    this.#host = host;
    this.scales = scales;
    this.#name = name;
  }

  /** A handle for an array; in module memory if that is where the array is. `name` is the argument's name, for messages. */
  static of<D extends DType>(array: NumberView, dtype: D, name?: string, scales?: Scales): ArrayHandle<D> {
    const { buffer, byteOffset, length } = array;
    const owner = OWNERS.get(buffer);
    if (owner !== undefined) return new ArrayHandle("module", dtype, owner, byteOffset, length, scales);
    const bits = dtype === "f16" && !(array instanceof Uint16Array) ? new Uint16Array(buffer, byteOffset, length) : array;
    return new ArrayHandle("host", dtype, buffer, byteOffset, length, scales, bits, name);
  }

  /** A handle for `length` numbers in module memory. */
  static inModule<D extends DType>(memory: ModuleOwner, dtype: D, byteOffset: number, length: number, scales?: Scales): ArrayHandle<D> {
    return new ArrayHandle("module", dtype, memory, byteOffset, length, scales);
  }

  /** A handle for `length` numbers in a GPU buffer. */
  static onGpu<D extends DType>(buffer: GPUBufferLike, dtype: D, byteOffset: number, length: number): ArrayHandle<D> {
    return new ArrayHandle("gpu", dtype, buffer, byteOffset, length);
  }

  get byteLength(): number {
    return this.length * BYTES[this.dtype];
  }

  /** Whether kernels get a copy in f32. */
  get isNarrow(): boolean {
    return this.dtype === "f16" || this.dtype === "bf16" || this.scales !== undefined;
  }

  /** Bytes per element as kernels see it. */
  get kernelBytes(): number {
    return this.isNarrow ? BYTES.f32 : BYTES[this.dtype];
  }

  /** The address in `memory` where kernels can use the numbers; −1 if these are elsewhere, or narrow. */
  addressIn(memory: ModuleOwner): number {
    return this.owner === memory && !this.isNarrow ? this.byteOffset : -1;
  }

  /** The first `length` of the numbers. */
  first(length: number): ArrayHandle<D> {
    if (length >= this.length) return this;
    return new ArrayHandle(this.place, this.dtype, this.owner, this.byteOffset, length, this.scales, this.#host, this.#name);
  }

  /** In module memory: `length` of the numbers from `start` on, `bytes` bytes further. They begin with a row of the scales. */
  within(bytes: number, start: number, length: number): ArrayHandle<D> {
    const { scales, dtype, byteOffset } = this;
    const owner = this.owner as ModuleOwner;
    const moved = scales && { ...scales, data: scales.data.within(bytes, start / scales.rowLength, length / scales.rowLength) };
    return ArrayHandle.inModule(owner, dtype, byteOffset + bytes + start * BYTES[dtype], length, moved);
  }

  /** A copy that the caller cannot change. Numbers in `memory` and on the GPU are not copied. */
  snapshot(memory: ModuleOwner): ArrayHandle<D> {
    if (this.place === "gpu" || this.owner === memory) return this;
    const copy = (this.view() as Float32Array).slice();
    const scales = this.scales && { ...this.scales, data: this.scales.data.snapshot(memory) };
    return new ArrayHandle("host", this.dtype, copy.buffer, copy.byteOffset, copy.length, scales, copy);
  }

  /** Whether both refer to the same numbers. */
  sameAs(other: ArrayHandle): boolean {
    return this.owner === other.owner && this.byteOffset === other.byteOffset && this.length === other.length && this.dtype === other.dtype;
  }

  overlaps(other: ArrayHandle): boolean {
    return this.owner === other.owner && this.byteOffset < other.byteOffset + other.byteLength && other.byteOffset < this.byteOffset + this.byteLength;
  }

  /**
   * The numbers as a typed array. Use it at once: growth of module memory detaches it.
   *
   * @throws DisposedError if the memory is gone, TypeError if the caller has meanwhile transferred its array's buffer or made it smaller
   */
  view(): NumberView {
    const host = this.#host;
    if (host !== undefined) {
      if (host.length < this.length) throw new TypeError(`"${this.#name}" was detached or made smaller while the call ran`);
      return host.length === this.length ? host : (host as Float32Array).subarray(0, this.length);
    }
    if (this.place === "gpu") throw new TypeError("numbers in a GPU buffer have no view");
    const View = VIEWS[this.dtype] as new (buffer: ArrayBufferLike, byteOffset: number, length: number) => NumberView;
    return new View((this.owner as ModuleOwner).buffer, this.byteOffset, this.length);
  }
}

/** The typed array for each dtype in module memory; 16-bit floats as their bits. */
const VIEWS = { f32: Float32Array, f64: Float64Array, f16: Uint16Array, bf16: Uint16Array, u8: Uint8Array, i8: Int8Array, i32: Int32Array } as const;
