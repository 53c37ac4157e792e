import { BackendError } from "../../errors.ts";

// The specification fixes these numbers; Node has no global that holds them.
export const MAP_READ = 0x1;
export const COPY_SRC = 0x4;
export const COPY_DST = 0x8;
export const UNIFORM = 0x40;
export const STORAGE = 0x80;

/** What a pooled buffer may be used for: numbers that shaders read and write, uniforms, or a landing place for readback. */
export const NUMBERS = STORAGE | COPY_SRC | COPY_DST;
export const UNIFORMS = UNIFORM | COPY_DST;
export const READBACK = MAP_READ | COPY_DST;

/** Bytes of the smallest buffer: the least that a binding's offset moves by, so that small tensors all share a class. */
const SMALLEST = 256;

/**
 * Bytes of buffers that the pool keeps for the next call. A decoding step needs a few megabytes; what a large prefill needed
 * goes back to the system when it is done with.
 */
export const POOLED_BYTES = 256 * 1024 * 1024;

/**
 * Bytes from which on a new buffer is checked for having got its memory, which takes a round trip. A smaller one that finds none
 * fails the commands that use it.
 */
export const CHECKED_BYTES = 1024 * 1024;

/** What the pool holds: bytes that someone uses, bytes waiting for use, and buffers made since the start. */
export interface PoolState {
  readonly inUse: number;
  readonly pooled: number;
  readonly created: number;
}

/** Bytes of the class that a size falls into: four classes per power of two, so that at most a fifth of a buffer is unused. */
export function sizeClass(bytes: number): number {
  if (bytes <= SMALLEST) return SMALLEST;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / step) * step;
}

/**
 * Buffers by size class and usage. A buffer may have several owners (a tensor and the calls that still read it): it returns to
 * the pool when the last has released it. That may be before the GPU is done with it, since what is written to it next is
 * queued behind.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #limit: number;
  readonly #idle = new Map<string, GPUBuffer[]>();
  readonly #owners = new Map<GPUBuffer, number>();
  /** Buffers that may have got no memory. */
  readonly #unsure = new Map<GPUBuffer, Promise<boolean>>();
  #inUse = 0;
  #pooled = 0;
  #created = 0;

  constructor(device: GPUDevice, limit = POOLED_BYTES) {
    this.#device = device;
    this.#limit = limit;
  }

  get state(): PoolState {
    return { inUse: this.#inUse, pooled: this.#pooled, created: this.#created };
  }

  /** A buffer of at least `bytes`, with one owner. Its contents are whatever it held before. */
  acquire(bytes: number, usage: number): GPUBuffer {
    const max = this.#device.limits.maxBufferSize;
    if (bytes > max) throw new BackendError(`a buffer of ${bytes} bytes is needed, but this GPU allows ${max}`);
    const size = Math.min(sizeClass(bytes), Math.floor(max / 4) * 4);
    let buffer = this.#idle.get(keyOf(size, usage))?.pop();
    if (buffer === undefined) {
      buffer = this.#create(size, usage);
    } else this.#pooled -= size;
    this.#inUse += size;
    this.#owners.set(buffer, 1);
    return buffer;
  }

  /** Whether a buffer got its memory; undefined when that is known or not in question. */
  check(buffer: GPUBuffer): Promise<boolean> | undefined {
    return this.#unsure.get(buffer);
  }

  /** Adds an owner. Buffers that are not the pool's are left to theirs. */
  retain(buffer: GPUBuffer): void {
    const owners = this.#owners.get(buffer);
    if (owners !== undefined) this.#owners.set(buffer, owners + 1);
  }

  /** Takes an owner away; the last one's buffer waits for its next use, or is destroyed when enough wait already. */
  release(buffer: GPUBuffer): void {
    const owners = this.#owners.get(buffer);
    if (owners === undefined) return;
    if (owners > 1) {
      this.#owners.set(buffer, owners - 1);
      return;
    }
    this.#owners.delete(buffer);
    this.#inUse -= buffer.size;
    if (this.#pooled + buffer.size > this.#limit || this.#unsure.has(buffer)) {
      this.#unsure.delete(buffer);
      buffer.destroy();
      return;
    }
    this.#pooled += buffer.size;
    const key = keyOf(buffer.size, buffer.usage);
    const idle = this.#idle.get(key);
    if (idle === undefined) this.#idle.set(key, [buffer]);
    else idle.push(buffer);
  }

  /** Destroys a buffer, whoever owns it: one that got no memory, or that a failed call leaves mapped. */
  discard(buffer: GPUBuffer): void {
    if (this.#owners.delete(buffer)) this.#inUse -= buffer.size;
    this.#unsure.delete(buffer);
    buffer.destroy();
  }

  /** Destroys what waits for use. Returns how many bytes that gave back. */
  trim(): number {
    const bytes = this.#pooled;
    for (const buffers of this.#idle.values()) for (const buffer of buffers) buffer.destroy();
    this.#idle.clear();
    this.#pooled = 0;
    return bytes;
  }

  /** Destroys every buffer, in use or not. */
  dispose(): void {
    this.trim();
    for (const buffer of this.#owners.keys()) buffer.destroy();
    this.#owners.clear();
    this.#unsure.clear();
    this.#inUse = 0;
  }

  #create(size: number, usage: number): GPUBuffer {
    this.#created++;
    if (size < CHECKED_BYTES) return this.#device.createBuffer({ size, usage });
    this.#device.pushErrorScope("out-of-memory");
    const buffer = this.#device.createBuffer({ size, usage });
    const sound = this.#device.popErrorScope().then(
      (error) => {
        if (error === null) this.#unsure.delete(buffer);
        return error === null;
      },
      // A lost device answers nothing; that is told elsewhere.
      () => true,
    );
    this.#unsure.set(buffer, sound);
    return buffer;
  }
}

function keyOf(size: number, usage: number): string {
  return `${size} ${usage}`;
}
