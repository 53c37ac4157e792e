import { BackendError, DisposedError } from "../../../errors/errors.ts";
import type { DType, DTypeData } from "../../../tensor/tensor.ts";

const PAGE = 65536;
/** Every allocation starts on a cache line. */
const ALIGN = 64;
/** Page 0 holds the module's constants (scripts/check-wasm.ts asserts that they fit). */
const ARENA_START = PAGE;
/** Scratch for one call; a larger need is borrowed from the heap until the call ends. */
const ARENA_BYTES = 1 << 20;
const HEAP_START = ARENA_START + ARENA_BYTES;
/** Pages that a memory has to begin with. */
export const INITIAL_PAGES = HEAP_START / PAGE;
/** Pages that the binaries declare as the maximum: all of a 32-bit address space. */
export const MAXIMUM_PAGES = 65536;

interface Block {
  start: number;
  bytes: number;
}

/** A point in the arena to return to. */
export interface Mark {
  readonly top: number;
  readonly borrowed: number;
}

/**
 * The module's linear memory: constants, an arena for per-call scratch (mark, take, release), and a first-fit heap with
 * coalescing for what outlives a call. Memory grows and never shrinks; freed blocks are used again.
 */
export class ModuleMemory {
  readonly memory: WebAssembly.Memory;
  /** Views of all of memory. Only this class grows it, and makes them anew when it does. */
  #f32!: Float32Array;
  #f64!: Float64Array;
  #i32!: Int32Array;
  #u8!: Uint8Array;
  #buffer!: ArrayBufferLike;
  /** Shared memory that grows gets a new buffer, but the old ones go on showing their part of it. */
  readonly #shared = new WeakSet<ArrayBufferLike>();
  #top = ARENA_START;
  /** Heap blocks the current calls borrowed for scratch. */
  readonly #borrowed: number[] = [];
  /** Free blocks in ascending order, never adjacent. */
  readonly #free: Block[] = [];
  readonly #used = new Map<number, number>();
  #end: number;

  constructor(memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES })) {
    this.memory = memory;
    this.#end = HEAP_START;
    this.#refresh();
  }

  /** Bytes of linear memory, all uses together. */
  get byteLength(): number {
    return this.#u8.byteLength;
  }

  /** Bytes held by tensors and borrowed scratch. */
  get usedBytes(): number {
    let sum = 0;
    for (const bytes of this.#used.values()) sum += bytes;
    return sum;
  }

  /** All of memory as f32. Growth detaches it: take it anew after every allocation. */
  get f32(): Float32Array {
    return this.#f32;
  }

  /** All of memory as f64; as for `f32`. */
  get f64(): Float64Array {
    return this.#f64;
  }

  /** All of memory as i32; as for `f32`. */
  get i32(): Int32Array {
    return this.#i32;
  }

  /** All of memory as bytes; as for `f32`. */
  get u8(): Uint8Array {
    return this.#u8;
  }

  /** The address of an array that lies in this memory, or −1. */
  addressOf(data: ArrayBufferView): number {
    return data.buffer === this.#buffer || this.#shared.has(data.buffer) ? data.byteOffset : -1;
  }

  /**
   * A view that survives growth: call it for the current view of `data`, after the last allocation. Growth detaches views of this
   * memory, the caller's included, in the middle of a call that takes scratch.
   */
  hold<A extends DTypeData[DType] | Uint8Array>(data: A): () => A {
    if (data.buffer !== this.#buffer) return () => data;
    const { byteOffset, length } = data;
    return () =>
      data.length === length
        ? data
        : new (data.constructor as new (buffer: ArrayBufferLike, byteOffset: number, length: number) => A)(this.#buffer, byteOffset, length);
  }

  mark(): Mark {
    return { top: this.#top, borrowed: this.#borrowed.length };
  }

  /** Scratch of `bytes`, until `release` of a mark taken before. */
  take(bytes: number): number {
    const start = this.#top;
    const end = start + roundUp(bytes);
    if (end <= HEAP_START) {
      this.#top = end;
      return start;
    }
    const address = this.allocate(bytes);
    this.#borrowed.push(address);
    return address;
  }

  release(mark: Mark): void {
    this.#top = mark.top;
    while (this.#borrowed.length > mark.borrowed) this.free(this.#borrowed.pop() ?? 0);
  }

  /** A block of the heap that stays until `free`. Throws BackendError, with nothing changed, when there is no memory left. */
  allocate(bytes: number): number {
    const need = Math.max(roundUp(bytes), ALIGN);
    const index = this.#free.findIndex((block) => block.bytes >= need);
    const found = this.#free[index];
    let start: number;
    if (found === undefined) {
      const last = this.#free.at(-1);
      const tail = last !== undefined && last.start + last.bytes === this.#end ? last : undefined;
      start = tail?.start ?? this.#end;
      this.#growTo(start + need);
      if (tail !== undefined) this.#free.pop();
      const rest = this.#end - start - need;
      if (rest > 0) this.#free.push({ start: start + need, bytes: rest });
    } else {
      start = found.start;
      if (found.bytes === need) this.#free.splice(index, 1);
      else {
        found.start += need;
        found.bytes -= need;
      }
    }
    this.#used.set(start, need);
    return start;
  }

  /** Gives a tensor's block back, when nothing uses it any more. */
  retire(start: number): void {
    this.free(start);
  }

  /** Gives a block back. */
  free(start: number): void {
    const bytes = this.#used.get(start);
    if (bytes === undefined) throw new DisposedError(`no block at ${start}`);
    this.#used.delete(start);
    let index = this.#free.findIndex((block) => block.start > start);
    if (index < 0) index = this.#free.length;
    const before = this.#free[index - 1];
    const after = this.#free[index];
    const joinsBefore = before !== undefined && before.start + before.bytes === start;
    const joinsAfter = after?.start === start + bytes;
    if (joinsBefore && joinsAfter) {
      before.bytes += bytes + after.bytes;
      this.#free.splice(index, 1);
    } else if (joinsBefore) before.bytes += bytes;
    else if (joinsAfter) {
      after.start = start;
      after.bytes += bytes;
    } else this.#free.splice(index, 0, { start, bytes });
  }

  #growTo(end: number): void {
    const pages = Math.ceil((end - this.#end) / PAGE);
    if (pages <= 0) return;
    try {
      this.memory.grow(pages);
    } catch (cause) {
      throw new BackendError(`WebAssembly memory cannot grow from ${this.#end} by ${pages * PAGE} bytes`, { cause });
    }
    this.#end += pages * PAGE;
    this.#refresh();
  }

  #refresh(): void {
    const buffer = this.memory.buffer;
    this.#buffer = buffer;
    if (!(buffer instanceof ArrayBuffer)) this.#shared.add(buffer);
    this.#f32 = new Float32Array(buffer);
    this.#f64 = new Float64Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#u8 = new Uint8Array(buffer);
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / ALIGN) * ALIGN;
}
