import { TooLargeError } from "../../../errors/errors.ts";

// The specification fixes these numbers; Node has no globals for them.
export const MAP_READ = 0x1;
export const COPY_SRC = 0x4;
export const COPY_DST = 0x8;
export const UNIFORM = 0x40;
export const STORAGE = 0x80;

/** What pooled buffers are used for: numbers that shaders read and write, uniforms, or readback. */
export const NUMBERS = STORAGE | COPY_SRC | COPY_DST;
export const UNIFORMS = UNIFORM | COPY_DST;
export const READBACK = MAP_READ | COPY_DST;

/** Bytes of the smallest buffer. Equal to the smallest step of a binding offset, so all small tensors share one class. */
const SMALLEST = 256;

/**
 * Most bytes of idle buffers. WebGPU does not say how much memory a GPU has, only how large a buffer may be. Calls of the largest size take
 * turns with two such buffers (256 MiB by default: f32 of 8192 × 8192). The cap is an eighth of an 8 GiB card, since many devices allow
 * buffers of half their memory.
 */
export function pooledBytes({ maxBufferSize }: Pick<GPUSupportedLimits, "maxBufferSize">): number {
  return Math.min(2 * maxBufferSize, 2 ** 30);
}

/**
 * From this size on, a call waits until a new buffer is known to have its memory, which takes a round trip. If a smaller buffer gets no
 * memory, the commands that use it fail.
 */
export const CHECKED_BYTES = 1024 * 1024;

/** What the pool holds: bytes in use, bytes idle, and buffers created so far. */
export interface PoolState {
  readonly inUse: number;
  readonly pooled: number;
  readonly created: number;
}

/** The size class of a buffer, in bytes. There are four classes per power of two, so that at most a fifth of a buffer is unused. */
export function sizeClass(bytes: number): number {
  if (bytes <= SMALLEST) return SMALLEST;
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / step) * step;
}

/**
 * Buffers by size class and usage. A buffer may have several owners (a tensor and the calls that still read it). It returns to the pool
 * when the last owner releases it. The GPU may still be using it then, but whatever is written to it next is queued behind. When too many
 * bytes are idle, the buffers that have been idle longest are destroyed.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #limit: number;
  /** Idle buffers, by class and usage and in order of release. Both start with the longest idle. */
  readonly #idle = new Map<string, GPUBuffer[]>();
  readonly #waiting = new Set<GPUBuffer>();
  readonly #owners = new Map<GPUBuffer, number>();
  /** New buffers, until they are known to have their memory. */
  readonly #unsure = new Map<GPUBuffer, Promise<boolean>>();
  /** Buffers that got no memory. */
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

  /** Whether a buffer got its memory; `undefined` once it is known to have it. */
  check(buffer: GPUBuffer): Promise<boolean> | undefined {
    return this.#unsure.get(buffer);
  }

  /** Adds an owner, who has to release the buffer later. False for buffers that are idle or from outside the pool, which get none. */
  retain(buffer: GPUBuffer): boolean {
    const owners = this.#owners.get(buffer);
    if (owners !== undefined) this.#owners.set(buffer, owners + 1);
    return owners !== undefined;
  }

  /** Removes an owner. Without any, the buffer becomes idle. */
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

  /** Destroys a buffer, whoever owns it: one that got no memory, or that a failed call left mapped. */
  discard(buffer: GPUBuffer): void {
    if (this.#owners.delete(buffer)) this.#inUse -= buffer.size;
    this.#unsure.delete(buffer);
    buffer.destroy();
  }

  /** Destroys all idle buffers. */
  trim(): void {
    this.#shrink(0);
  }

  /** Destroys every buffer, in use or not. */
  dispose(): void {
    this.trim();
    for (const buffer of [...this.#owners.keys()]) this.discard(buffer);
  }

  /** Destroys the buffers that have been idle longest, until at most `bytes` are idle. */
  #shrink(bytes: number): void {
    for (const buffer of this.#waiting) {
      if (this.#pooled <= bytes) return;
      this.#drop(buffer);
    }
  }

  /** Destroys an idle buffer. */
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
        // Nobody else may get it, even if it has been released meanwhile.
        this.#failed.add(buffer);
        if (this.#waiting.has(buffer)) this.#drop(buffer);
        return false;
      },
      // A lost device does not answer; the loss is reported elsewhere.
      () => true,
    );
    this.#unsure.set(buffer, sound);
    return buffer;
  }
}

function keyOf(size: number, usage: number): string {
  return `${size} ${usage}`;
}
