import { TooLargeError } from "../../../errors/errors.ts";

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
 * Bytes of buffers that wait for use, at most. WebGPU does not tell how much memory a GPU has, only how large a buffer may be: two of
 * those are what calls of the largest size take turns with (256 MiB by default: f32 of 8192 × 8192). And no more than an eighth of a
 * card of 8 GiB, since many devices allow buffers of half their memory.
 */
export function pooledBytes({ maxBufferSize }: Pick<GPUSupportedLimits, "maxBufferSize">): number {
  return Math.min(2 * maxBufferSize, 2 ** 30);
}

/**
 * Bytes from which on a call waits until a new buffer is known to have got its memory, which takes a round trip. A smaller one that
 * finds none fails the commands that use it.
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
 * queued behind. Those that have waited longest for use go when too many wait.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #limit: number;
  /** What waits for use, by class and usage, and in the order of release: the longest first in both. */
  readonly #idle = new Map<string, GPUBuffer[]>();
  readonly #waiting = new Set<GPUBuffer>();
  readonly #owners = new Map<GPUBuffer, number>();
  /** New buffers, until they are known to have got their memory. */
  readonly #unsure = new Map<GPUBuffer, Promise<boolean>>();
  /** Those that got none. */
  readonly #failed = new WeakSet<GPUBuffer>();
  #inUse = 0;
  #pooled = 0;
  #created = 0;

  constructor(device: GPUDevice, limit = pooledBytes(device.limits)) {
    this.#device = device;
    this.#limit = limit;
  }

  get state(): PoolState {
    return { inUse: this.#inUse, pooled: this.#pooled, created: this.#created };
  }

  /** A buffer of at least `bytes`, with one owner. Its contents are whatever it held before. */
  acquire(bytes: number, usage: number): GPUBuffer {
    const max = this.#device.limits.maxBufferSize;
    if (bytes > max) throw new TooLargeError(`a buffer of ${bytes} bytes is needed, but this GPU allows ${max}`);
    const size = Math.min(sizeClass(bytes), Math.floor(max / 4) * 4);
    const known = this.#idle.get(keyOf(size, usage))?.pop();
    if (known !== undefined) {
      this.#waiting.delete(known);
      this.#pooled -= size;
    }
    const buffer = known ?? this.#create(size, usage);
    this.#inUse += size;
    this.#owners.set(buffer, 1);
    return buffer;
  }

  /** Whether a buffer got its memory; undefined when it is known to. */
  check(buffer: GPUBuffer): Promise<boolean> | undefined {
    return this.#unsure.get(buffer);
  }

  /** Adds an owner. Buffers that are not the pool's are left to theirs. */
  retain(buffer: GPUBuffer): void {
    const owners = this.#owners.get(buffer);
    if (owners !== undefined) this.#owners.set(buffer, owners + 1);
  }

  /** Takes an owner away; the last one's buffer waits for its next use. */
  release(buffer: GPUBuffer): void {
    const owners = this.#owners.get(buffer);
    if (owners === undefined) return;
    if (owners > 1) {
      this.#owners.set(buffer, owners - 1);
      return;
    }
    if (buffer.size > this.#limit || this.#failed.has(buffer)) {
      this.discard(buffer);
      return;
    }
    this.#owners.delete(buffer);
    this.#inUse -= buffer.size;
    this.#pooled += buffer.size;
    this.#waiting.add(buffer);
    const key = keyOf(buffer.size, buffer.usage);
    const idle = this.#idle.get(key);
    if (idle === undefined) this.#idle.set(key, [buffer]);
    else idle.push(buffer);
    this.#shrink(this.#limit);
  }

  /** Destroys a buffer, whoever owns it: one that got no memory, or that a failed call leaves mapped. */
  discard(buffer: GPUBuffer): void {
    if (this.#owners.delete(buffer)) this.#inUse -= buffer.size;
    this.#unsure.delete(buffer);
    buffer.destroy();
  }

  /** Destroys what waits for use. */
  trim(): void {
    this.#shrink(0);
  }

  /** Destroys every buffer, in use or not. */
  dispose(): void {
    this.trim();
    for (const buffer of [...this.#owners.keys()]) this.discard(buffer);
  }

  /** Destroys what has waited longest, until no more than `bytes` wait. */
  #shrink(bytes: number): void {
    for (const buffer of this.#waiting) {
      if (this.#pooled <= bytes) return;
      this.#drop(buffer);
    }
  }

  /** Destroys a buffer that waits for use. */
  #drop(buffer: GPUBuffer): void {
    this.#waiting.delete(buffer);
    this.#pooled -= buffer.size;
    const idle = this.#idle.get(keyOf(buffer.size, buffer.usage)) ?? [];
    idle.splice(idle.indexOf(buffer), 1);
    this.discard(buffer);
  }

  #create(size: number, usage: number): GPUBuffer {
    this.#created++;
    this.#device.pushErrorScope("out-of-memory");
    const buffer = this.#device.createBuffer({ size, usage });
    const sound = this.#device.popErrorScope().then(
      (error) => {
        if (error === null) {
          this.#unsure.delete(buffer);
          return true;
        }
        // Nobody else is to get it, also where it has been released meanwhile.
        this.#failed.add(buffer);
        if (this.#waiting.has(buffer)) this.#drop(buffer);
        return false;
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
