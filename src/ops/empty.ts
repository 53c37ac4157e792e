import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { disposeSymbol } from "../errors/dispose-symbol.ts";
import { DisposedError, describe } from "../errors/errors.ts";
import { checkOptions, parseChoice } from "../errors/options.ts";
import { elementCount, parseShape } from "../tensor/shape.ts";
import { ArrayHandle, BYTES, type DType, type NumberView } from "../tensor/array.ts";
import type { DTypeData, Tensor } from "../tensor/tensor.ts";

/** A tensor in module memory, which kernels use in place. */
export interface ModuleTensor<D extends DType = "f32" | "f64"> extends Tensor<D> {
  /** A fresh view of the numbers on each access. A view taken earlier may have been detached by memory growth. */
  readonly data: DTypeData[D];
  /** Frees the memory. Using the tensor afterwards throws DisposedError; disposing again does nothing. */
  dispose(): void;
  /** The same as {@link ModuleTensor.dispose}, for `using`. */
  [Symbol.dispose](): void;
}

const EMPTY_OPTIONS = new Set(["dtype"]);

/**
 * Creates an uninitialised tensor in module memory, where kernels work without copying in or out. Use it for inputs that you fill
 * and outputs that you read many times. It holds memory until `dispose()`.
 *
 * @param shape - the size of each dimension
 * @param options - `dtype`, default "f32"; 16-bit floats are a Uint16Array
 * @throws RangeError if the shape is invalid, BackendError if memory runs out
 *
 * @example
 * ```ts
 * const x = empty([2, 3]);
 * x.data.set([1, 2, 3, 4, 5, 6]);
 * softmax(x, { out: x }); // no copy
 * x.dispose();
 * ```
 */
export function empty<D extends DType = "f32">(shape: Iterable<number | bigint>, options: { readonly dtype?: D } = {}): ModuleTensor<D> {
  return emptyOn(defaultRuntime(), shape, options);
}

/** Creates an uninitialised tensor in the memory of a given runtime. @internal */
export function emptyOn<D extends DType = "f32">(runtime: Runtime, shape: Iterable<number | bigint>, options: { readonly dtype?: D } = {}): ModuleTensor<D> {
  checkOptions(options, EMPTY_OPTIONS);
  const dtype = parseChoice<DType>("dtype", options.dtype, DTYPES);
  return new EmptyTensor(runtime, parseShape("shape", shape), dtype) as unknown as ModuleTensor<D>;
}

const DTYPES = ["f32", "f64", "f16", "bf16", "i8", "u8"] as const;

class EmptyTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly #runtime: Runtime;
  readonly #count: number;
  /** 0 after dispose, since page 0 is never handed out. */
  #address: number;

  constructor(runtime: Runtime, shape: readonly number[], dtype: DType) {
    this.shape = shape;
    this.dtype = dtype;
    this.#runtime = runtime;
    this.#count = elementCount(shape);
    this.#address = runtime.memory.allocate(this.#count * BYTES[dtype]);
  }

  get data(): NumberView {
    if (this.#address === 0) throw new DisposedError(`this tensor of shape ${describe(this.shape)} has been disposed`);
    return ArrayHandle.inModule(this.#runtime.memory, this.dtype, this.#address, this.#count).view();
  }

  dispose(): void {
    if (this.#address === 0) return;
    this.#runtime.memory.retire(this.#address);
    this.#address = 0;
  }

  [disposeSymbol](): void {
    this.dispose();
  }
}
