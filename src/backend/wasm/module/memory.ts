import { type ModuleOwner, registerBuffer } from "../../../tensor/array.ts";
import { BackendError, DisposedError } from "../../../errors/errors.ts";

const PAGE = 65536;
/** Every allocation starts on a cache line. */
const ALIGN = 64;
/** Page 0 holds the module's constants (scripts/check-wasm.ts asserts that they fit). */
const ARENA_START = PAGE;
/** Scratch for one call. A larger need is met from the heap until the call ends. */
const ARENA_BYTES = 1 << 20;
const HEAP_START = ARENA_START + ARENA_BYTES;
/** Pages that a memory must start with. */
export const INITIAL_PAGES = HEAP_START / PAGE;
/** The most pages: a 32-bit address space but for its last page, since the address behind the end of an array must not be 0. */
export const MAXIMUM_PAGES = 65535;

interface Block {
  start: number;
  bytes: number;
}

/** A call in flight, and the blocks retired while it was the latest: they wait for it and for all calls before it. */
interface InFlight {
  settled: boolean;
  readonly retired: number[];
}

/** A point in the arena to return to. */
export interface Mark {
  readonly top: number;
  readonly borrowed: number;
}

/**
 * The module's linear memory: constants, an arena for per-call scratch (mark, take, release), and a first-fit heap with
 * coalescing for what outlives a call. Memory grows and never shrinks; freed blocks are reused.
 */
export class ModuleMemory implements ModuleOwner {
  readonly memory: WebAssembly.Memory;
  /** Views of all of memory. Only this class grows memory, and it renews them when it does. */
  #f32!: Float32Array;
  #f64!: Float64Array;
  #i32!: Int32Array;
  #u8!: Uint8Array;
  #buffer!: ArrayBufferLike;
  #top = ARENA_START;
  /** Heap blocks that current calls borrowed as scratch. */
  readonly #borrowed: number[] = [];
  /** Free blocks in ascending order, never adjacent. */
  readonly #free: Block[] = [];
  readonly #used = new Map<number, number>();
  /** In the order in which the calls began. */
  readonly #inFlight: InFlight[] = [];
  #end: number;

  constructor(memory = new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum: MAXIMUM_PAGES })) {
    this.memory = memory;
    this.#end = HEAP_START;
    this.#refresh();
  }

  /** Bytes of linear memory, for all uses. */
  get byteLength(): number {
    return this.#u8.byteLength;
  }

  /** Bytes held by tensors and borrowed scratch. */
  get usedBytes(): number {
    let sum = 0;
    for (const bytes of this.#used.values()) sum += bytes;
    return sum;
  }

  /** All of memory as f32. Growth detaches it: get it again after every allocation. */
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

  /** All of memory as signed bytes; as for `f32`. */
  get i8(): Int8Array {
    return new Int8Array(this.buffer);
  }

  /** The current buffer; an engine's is gone once the engine ends. */
  get buffer(): ArrayBufferLike {
    return this.#buffer;
  }

  /** All of memory as elements of `bytes` bytes each; as for `f32`. */
  viewOf(bytes: number): Float32Array | Float64Array | Uint16Array | Uint8Array {
    return bytes === 4 ? this.#f32 : bytes === 1 ? this.#u8 : bytes === 8 ? this.#f64 : new Uint16Array(this.#buffer);
  }

  mark(): Mark {
    return { top: this.#top, borrowed: this.#borrowed.length };
  }

  /** Scratch of `bytes`, until `release` of an earlier mark. */
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

  /** A heap block that stays until `free`. Throws BackendError, with nothing changed, if memory runs out. */
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

  /** Frees a tensor's block once the calls that are in flight now have settled. */
  retire(start: number): void {
    const latest = this.#inFlight.at(-1);
    if (latest === undefined) this.free(start);
    else latest.retired.push(start);
  }

  /** Keeps every block in place for a call, until the returned function is called. */
  hold(): () => void {
    const call: InFlight = { settled: false, retired: [] };
    this.#inFlight.push(call);
    return () => {
      call.settled = true;
      while (this.#inFlight[0]?.settled === true) for (const start of this.#inFlight.shift()?.retired ?? []) this.free(start);
    };
  }

  /** Frees a block. */
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
    registerBuffer(buffer, this);
    this.#f32 = new Float32Array(buffer);
    this.#f64 = new Float64Array(buffer);
    this.#i32 = new Int32Array(buffer);
    this.#u8 = new Uint8Array(buffer);
  }
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / ALIGN) * ALIGN;
}
