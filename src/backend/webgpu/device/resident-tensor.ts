import type { DType } from "../../../tensor/array.ts";
import { disposeSymbol } from "../../../errors/dispose-symbol.ts";
import { DisposedError } from "../../../errors/errors.ts";
import type { GPUBufferLike } from "../../../tensor/gpu-types.ts";
import type { GpuTensor } from "../../../tensor/tensor.ts";
import type { BufferPool } from "./buffers.ts";

/** A tensor in a pooled buffer: what an engine returns if the operands are on the GPU. */
export class ResidentTensor<D extends DType = DType> implements GpuTensor<D> {
  readonly shape: readonly number[];
  readonly dtype: D;
  readonly offset = 0;
  readonly #pool: BufferPool;
  #buffer: GPUBuffer | undefined;

  /** Takes over the caller's ownership of `buffer`. */
  constructor(pool: BufferPool, buffer: GPUBuffer, shape: readonly number[], dtype: D) {
    this.#pool = pool;
    this.#buffer = buffer;
    this.shape = shape;
    this.dtype = dtype;
  }

  /** @throws DisposedError after `dispose()`, since the buffer may then hold someone else's numbers */
  get buffer(): GPUBufferLike {
    if (this.#buffer === undefined) throw new DisposedError("this GPU tensor has been disposed");
    return this.#buffer;
  }

  /** Returns the memory to the pool. Calls made earlier can still read it. */
  dispose(): void {
    if (this.#buffer !== undefined) this.#pool.release(this.#buffer);
    this.#buffer = undefined;
  }

  [disposeSymbol](): void {
    this.dispose();
  }
}
