import { describe } from "./errors.ts";
import type { GPUBufferLike } from "./gpu-types.ts";
import { checkOptions } from "./options.ts";
import { contiguousStrides, elementCount, parseShape } from "./shape.ts";

/** Storage types. Arithmetic on `f16`, `bf16` and `i8` is f32; `f64` is computed in f64. */
export type DType = "f32" | "f64" | "f16" | "bf16" | "i8";

/** The typed array that holds each dtype; `f16` and `bf16` are raw 16-bit patterns. */
export interface DTypeData {
  /** IEEE single precision. */
  f32: Float32Array;
  /** IEEE double precision. */
  f64: Float64Array;
  /** IEEE half precision, as bits. */
  f16: Uint16Array;
  /** The upper half of a single, as bits. */
  bf16: Uint16Array;
  /** Signed bytes. */
  i8: Int8Array;
}

/**
 * A tensor is a plain value: numbers, a shape and, for a view, strides.
 *
 * @typeParam D - the dtype, which decides the type of `data`
 */
export interface Tensor<D extends DType = DType> {
  /** The numbers. Element `[i, j, …]` is `data[i * strides[0] + j * strides[1] + …]`. */
  readonly data: DTypeData[D];
  /** The size of each dimension; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** How the numbers are stored. */
  readonly dtype: D;
  /** Distance between neighbours along each dimension, in elements, not negative. Row-major and gapless when absent. */
  readonly strides?: readonly number[];
}

/** A float array of either width. */
export type FloatArray = Float32Array | Float64Array;

/**
 * What every function accepts as a tensor: a typed array (one-dimensional), or any object with `data` and `shape`, or
 * `data` and `dims` as in ONNX Runtime. The dtype follows from the typed array; a `Uint16Array` needs `dtype`.
 */
export type TensorLike =
  | FloatArray
  | {
      /** A typed array. */
      readonly data: unknown;
      /** The size of each dimension. */
      readonly shape?: readonly number[];
      /** The same, as ONNX Runtime names it. */
      readonly dims?: readonly number[];
      /** A {@link DType}, where the array does not tell it. */
      readonly dtype?: string;
      /** In elements; row-major and gapless when absent. */
      readonly strides?: readonly number[];
    };

/** A tensor in a GPU buffer, row-major and gapless, as an engine takes and returns it. Bytes of a mask are `u8`. */
export interface GpuTensor<D extends DType | "u8" = DType | "u8"> {
  /** The buffer that holds it. */
  readonly buffer: GPUBufferLike;
  /** The size of each dimension. */
  readonly shape: readonly number[];
  /** How the numbers are stored. */
  readonly dtype: D;
  /** Where the tensor begins in the buffer, in bytes: a multiple of 4. Default 0. */
  readonly offset?: number;
}

/** A tensor in a GPU buffer of an engine's: a result, or made by `upload` or `empty`. */
export interface ResidentTensor<D extends DType | "u8" = DType | "u8"> extends GpuTensor<D> {
  readonly offset: number;
  /** Gives the GPU memory back. Using the tensor afterwards is an error; disposing again does nothing. */
  dispose(): void;
  /** The same as {@link ResidentTensor.dispose}, for `using`. */
  [Symbol.dispose](): void;
}

/** The dtype of what is passed in, so that f32 in gives f32 out. */
export type DTypeOf<T> = T extends Float64Array | Pick<Tensor<"f64">, "data"> ? "f64" : "f32";

/** Numbers in a GPU buffer: what stands in a call where a typed array would. */
export class DeviceArray {
  readonly buffer: GPUBufferLike;
  readonly byteOffset: number;
  readonly byteLength: number;

  constructor(buffer: GPUBufferLike, byteOffset: number, byteLength: number) {
    this.buffer = buffer;
    this.byteOffset = byteOffset;
    this.byteLength = byteLength;
  }
}

/** Where numbers are: in an array of the CPU's memory, or in a GPU buffer. */
export type Place = "host" | "gpu";

export function placeOf(data: unknown): Place {
  return data instanceof DeviceArray ? "gpu" : "host";
}

/** Where a result goes: where `out` is, and without one where the first operand is. */
export function resultPlace(first: Place, out: unknown): Place {
  return out === undefined ? first : placeOf(out);
}

/** The numbers of a tensor. */
export type Numbers = DTypeData[DType] | DeviceArray;

/** A `Tensor` after checking: strides always present. */
export interface View<D = Numbers> {
  readonly data: D;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

const TENSOR_OPTIONS = new Set(["strides", "dtype"]);

/**
 * Gives a typed array a shape. Nothing is copied.
 *
 * @param data - the numbers, row-major unless `strides` is given
 * @param shape - the size of each dimension; one-dimensional when absent
 * @param options - `strides` in elements, and `dtype` where the array does not tell it (`Uint16Array`: "f16" or "bf16")
 * @returns a tensor over the same memory
 * @throws TypeError if `data` is not a typed array of a known dtype
 * @throws RangeError if the shape does not fit the data
 *
 * @example
 * ```ts
 * const t = tensor(new Float32Array(6), [2, 3]);
 * t.dtype; // "f32"
 * ```
 */
export function tensor<A extends DTypeData[DType]>(
  data: A,
  shape?: readonly number[],
  options: { readonly strides?: readonly number[]; readonly dtype?: DType } = {},
): Tensor<A extends Float32Array ? "f32" : A extends Float64Array ? "f64" : A extends Int8Array ? "i8" : "f16" | "bf16"> {
  checkOptions(options, TENSOR_OPTIONS);
  const view = toView("data", { data, shape: shape ?? [(data as { length?: number }).length ?? 0], dtype: options.dtype, strides: options.strides });
  if (options.strides === undefined && elementCount(view.shape) !== data.length) {
    throw new RangeError(`"shape" [${view.shape.join(", ")}] has ${elementCount(view.shape)} elements, but "data" has ${data.length}`);
  }
  const base = { data, shape: view.shape, dtype: view.dtype };
  return (options.strides === undefined ? base : { ...base, strides: view.strides }) as never;
}

/** Checks a tensor argument and fills in what it leaves out. `name` is the argument's, for messages. */
export function toView(name: string, value: unknown): View {
  if (ArrayBuffer.isView(value)) {
    const data = value as unknown as DTypeData[DType];
    return { data, dtype: dtypeOf(name, data, undefined), shape: [data.length], strides: [1] };
  }
  if (typeof value !== "object" || value === null) throw new TypeError(`"${name}" expected a typed array or a tensor, got ${describe(value)}`);
  const t = value as { data?: unknown; shape?: unknown; dims?: unknown; dtype?: unknown; strides?: unknown };
  const data = t.data;
  if (data === undefined && "buffer" in value) return deviceView(name, value, FLOATS_ON_GPU);
  if (!ArrayBuffer.isView(data)) {
    const hint = Array.isArray(value) ? "; wrap it: Float32Array.from(…)" : "";
    throw new TypeError(`"${name}" expected a typed array or a tensor with "data" and "shape", got ${describe(value)}${hint}`);
  }
  const array = data as unknown as DTypeData[DType];
  const dtype = dtypeOf(name, array, t.dtype);
  const shape = parseShape(name, t.shape ?? t.dims);
  if (t.strides === undefined) {
    const count = elementCount(shape);
    if (array.length < count) throw new RangeError(`"${name}" of shape [${shape.join(", ")}] needs ${count} elements, but its data has ${array.length}`);
    return { data: array, dtype, shape, strides: contiguousStrides(shape) };
  }
  const strides = parseStrides(name, t.strides, shape);
  const extent = elementCount(shape) === 0 ? 0 : 1 + shape.reduce((sum, size, d) => sum + (size - 1) * (strides[d] ?? 0), 0);
  if (array.length < extent)
    throw new RangeError(
      `"${name}" of shape [${shape.join(", ")}] with strides [${strides.join(", ")}] reaches element ${extent - 1}, but its data has ${array.length}`,
    );
  return { data: array, dtype, shape, strides };
}

/** Bytes per element of what GPU buffers may hold. */
const BYTES_ON_GPU = { f32: 4, f16: 2, u8: 1, i8: 1 } as const;
const FLOATS_ON_GPU = ["f32", "f16"] as const;

/** Checks a tensor in a GPU buffer. */
export function deviceView<D extends keyof typeof BYTES_ON_GPU>(
  name: string,
  value: object,
  dtypes: readonly D[],
): Omit<View<DeviceArray>, "dtype"> & { readonly dtype: D } {
  const { buffer, shape: given, dtype: stated, offset = 0 } = value as { buffer?: unknown; shape?: unknown; dtype?: unknown; offset?: unknown };
  if (typeof (buffer as GPUBufferLike | null | undefined)?.size !== "number")
    throw new TypeError(`"${name}" expected a GPUBuffer as its buffer, got ${describe(buffer)}`);
  const dtype = dtypes.find((d) => d === stated);
  if (dtype === undefined) throw new TypeError(`"${name}" expected dtype ${dtypes.map((d) => `"${d}"`).join(" or ")} in a GPU buffer, got ${describe(stated)}`);
  if ((value as { strides?: unknown }).strides !== undefined) throw new TypeError(`"${name}" expected no strides in a GPU buffer`);
  const shape = parseShape(name, given);
  const bytes = elementCount(shape) * BYTES_ON_GPU[dtype];
  const { size } = buffer as GPUBufferLike;
  if (typeof offset !== "number" || !(offset >= 0) || offset % 4 !== 0 || offset + bytes > size)
    throw new RangeError(`"${name}" expected an offset, a multiple of 4, from which ${bytes} bytes fit into the buffer of ${size}, got ${describe(offset)}`);
  return { data: new DeviceArray(buffer as GPUBufferLike, offset, bytes), dtype, shape, strides: contiguousStrides(shape) };
}

function parseStrides(name: string, value: unknown, shape: readonly number[]): readonly number[] {
  if (!Array.isArray(value) || value.length !== shape.length)
    throw new RangeError(`"${name}" expected one stride per dimension (${shape.length}), got ${describe(value)}`);
  for (const s of value as unknown[]) {
    if (typeof s !== "number" || !Number.isSafeInteger(s) || s < 0)
      throw new RangeError(`"${name}" expected strides that are non-negative integers, got ${describe(s)}`);
  }
  return value as number[];
}

/** The dtypes that each kind of typed array may hold; where there are several, `dtype` has to say which. */
const DTYPES_OF: Readonly<Record<string, readonly DType[]>> = {
  Float32Array: ["f32"],
  Float64Array: ["f64"],
  Float16Array: ["f16"],
  Uint16Array: ["f16", "bf16"],
  Int8Array: ["i8"],
};

/** The name of a value's class by its tag, so that arrays of another realm, and Float16Array where it is missing, are recognised. */
export function kindOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

function dtypeOf(name: string, data: ArrayBufferView, stated: unknown): DType {
  if (stated === undefined && data instanceof Float32Array) return "f32";
  const kind = kindOf(data);
  const known = DTYPES_OF[kind] ?? [];
  const first = known[0];
  if (first === undefined) throw new TypeError(`"${name}" expected float data (Float32Array, Float64Array), got ${kind}`);
  if (stated === undefined) {
    if (known.length > 1) throw new TypeError(`"${name}" is a Uint16Array: say dtype "f16" or "bf16"`);
    return first;
  }
  const match = known.find((d) => d === stated);
  if (match === undefined) throw new TypeError(`"${name}" expected dtype ${known.map((d) => `"${d}"`).join(" or ")} for a ${kind}, got ${describe(stated)}`);
  return match;
}
