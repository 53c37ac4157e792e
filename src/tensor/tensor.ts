import { describe } from "../errors/errors.ts";
import type { GPUBufferLike } from "./gpu-types.ts";
import { checkOptions } from "../errors/options.ts";
import { MAX_RANK, contiguousStrides, elementCount, extentOf, parseShape } from "./shape.ts";

/**
 * Storage types. Every operation computes `f32`; softmax, logSoftmax and logSumExp also `f64`, on the CPU and in f64. An engine's GPU
 * takes `f16` inputs, with f32 arithmetic and results. `u8` and `i8` are the bytes of masks. No operation takes `bf16` yet.
 */
export type DType = "f32" | "f64" | "f16" | "bf16" | "u8" | "i8";

/** A `Float16Array`, by structure: the library that a project compiles with may lack it. */
export interface Float16ArrayLike extends ArrayBufferView {
  /** What tells it from other arrays. */
  readonly [Symbol.toStringTag]: "Float16Array";
  /** 2. */
  readonly BYTES_PER_ELEMENT: number;
  /** Number of elements. */
  readonly length: number;
  /** The elements. */
  [index: number]: number;
  /** Writes elements. */
  set(array: ArrayLike<number>, offset?: number): void;
  /** A view of a part. */
  subarray(begin?: number, end?: number): Float16ArrayLike;
  /** A copy of a part. */
  slice(begin?: number, end?: number): Float16ArrayLike;
}

/** The typed array that holds each dtype. */
export interface DTypeData {
  /** IEEE single precision. */
  f32: Float32Array;
  /** IEEE double precision. */
  f64: Float64Array;
  /** IEEE half precision, as such or as bits. */
  f16: Float16ArrayLike | Uint16Array;
  /** The upper half of a single, as bits. */
  bf16: Uint16Array;
  /** Bytes. */
  u8: Uint8Array | Uint8ClampedArray;
  /** Signed bytes. */
  i8: Int8Array;
}

/** The dtypes that a typed array may hold: `f16` or `bf16` for a `Uint16Array`, one for every other. */
export type DTypeIn<A> = { [D in DType]: A extends DTypeData[D] ? D : never }[DType];

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

/** A typed array with a shape, as a tensor of this package, of ONNX Runtime or of transformers.js is. */
export interface ShapedArray<A = unknown> {
  /** A typed array. */
  readonly data: A;
  /** The size of each dimension. */
  readonly shape?: readonly number[];
  /** The same, as ONNX Runtime names it. */
  readonly dims?: readonly number[];
  /** A {@link DType}, where the array does not tell it. */
  readonly dtype?: string;
  /** The same in ONNX Runtime's words, such as "float16"; others are ignored. */
  readonly type?: string;
  /** In elements; row-major and gapless when absent. */
  readonly strides?: readonly number[];
}

/**
 * What every function accepts as a tensor: a typed array (one-dimensional), or any object with `data` and `shape`, or
 * `data` and `dims` as in ONNX Runtime. The dtype follows from the typed array; a `Uint16Array` needs `dtype` (or `type`).
 */
export type TensorLike = FloatArray | Float16ArrayLike | ShapedArray;

/** A mask: bytes, or bytes with a shape, as `tensor` gives it. */
export type MaskLike = DTypeData["u8" | "i8"] | ShapedArray<DTypeData["u8" | "i8"]>;

/** A tensor in a GPU buffer, row-major and gapless, as an engine takes and returns it. */
export interface GpuTensor<D extends DType = DType> {
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
export interface ResidentTensor<D extends DType = DType> extends GpuTensor<D> {
  readonly offset: number;
  /** Gives the GPU memory back. Using the tensor afterwards is an error; disposing again does nothing. */
  dispose(): void;
  /** The same as {@link ResidentTensor.dispose}, for `using`. */
  [Symbol.dispose](): void;
}

/** The dtype of a result, so that f32 in gives f32 out; both where the type of what is passed in does not tell. */
export type DTypeOf<T> = unknown extends T ? "f32" | "f64" : T extends ShapedArray<infer A> ? DTypeOf<A> : T extends Float64Array ? "f64" : "f32";

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
export function tensor<A extends DTypeData[DType], D extends DTypeIn<A> = DTypeIn<A>>(
  data: A,
  shape?: readonly number[],
  options: { readonly strides?: readonly number[]; readonly dtype?: D } = {},
): Tensor<D> {
  checkOptions(options, TENSOR_OPTIONS);
  if (!ArrayBuffer.isView(data)) throw new TypeError(`"data" expected a typed array, got ${describe(data)}${hintFor(data)}`);
  const dtype = dtypeOf("data", data, options.dtype);
  const sizes = shape === undefined ? [data.length] : parseShape("shape", shape);
  if (options.strides === undefined) {
    const count = elementCount(sizes);
    if (count !== data.length) throw new RangeError(`"shape" ${describe(sizes)} has ${count} elements, but "data" has ${data.length}`);
    return { data, shape: sizes, dtype } as never;
  }
  const strides = parseStrides("strides", options.strides, sizes);
  const extent = extentOf(sizes, strides);
  if (extent > data.length)
    throw new RangeError(`"shape" ${describe(sizes)} with strides ${describe(strides)} reaches element ${extent - 1}, but "data" has ${data.length}`);
  return { data, shape: sizes, dtype, strides } as never;
}

/** Checks a tensor argument and fills in what it leaves out. `name` is the argument's, for messages. */
export function toView(name: string, value: unknown): View {
  if (ArrayBuffer.isView(value)) {
    const dtype = dtypeOf(name, value, undefined);
    const data = value as DTypeData[DType];
    return { data, dtype, shape: [data.length], strides: [1] };
  }
  if (typeof value !== "object" || value === null) throw new TypeError(`"${name}" expected a typed array or a tensor, got ${describe(value)}`);
  const t = value as { readonly [K in keyof ShapedArray]: unknown };
  const data = t.data;
  if (data === undefined && "buffer" in value) return deviceView(name, value, FLOATS_ON_GPU);
  if (!ArrayBuffer.isView(data)) {
    throw new TypeError(`"${name}" expected a typed array or a tensor with "data" and "shape", got ${describe(value)}${hintFor(value)}`);
  }
  const dtype = dtypeOf(name, data, t.dtype ?? ONNX_TYPES[t.type as string]);
  const array = data as DTypeData[DType];
  const shape = parseShape(name, t.shape ?? t.dims);
  const strides = t.strides === undefined ? contiguousStrides(shape) : parseStrides(name, t.strides, shape);
  const extent = extentOf(shape, strides);
  if (array.length < extent) {
    const needs = t.strides === undefined ? `needs ${extent} elements` : `with strides ${describe(strides)} reaches element ${extent - 1}`;
    throw new RangeError(`"${name}" of shape ${describe(shape)} ${needs}, but its data has ${array.length}`);
  }
  // What lies behind may be written while this is read.
  return { data: array.length > extent ? array.subarray(0, extent) : array, dtype, shape, strides };
}

/** How to make a tensor of a plain array of numbers, or of rows of them. */
function hintFor(value: unknown): string {
  const shape: number[] = [];
  let inner = value;
  for (; Array.isArray(inner) && shape.length < MAX_RANK; inner = (inner as unknown[])[0]) shape.push(inner.length);
  if (typeof inner !== "number" || shape.length === 0) return "";
  if (shape.length === 1) return "; wrap it: Float32Array.from(…)";
  return `; wrap it: tensor(Float32Array.from(rows.flat(${shape.length === 2 ? "" : shape.length - 1})), ${describe(shape)})`;
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
  Uint8Array: ["u8"],
  Uint8ClampedArray: ["u8"],
  Int8Array: ["i8"],
};

/** ONNX Runtime's names of dtypes. */
const ONNX_TYPES: Readonly<Record<string, DType>> = { float32: "f32", float64: "f64", float16: "f16", bool: "u8", uint8: "u8", int8: "i8" };

/** The name of a value's class by its tag, so that arrays of another realm, and Float16Array where it is missing, are recognised. */
export function kindOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Checks that a typed array has its memory, and what it holds. */
function dtypeOf(name: string, data: ArrayBufferView, stated: unknown): DType {
  if (data.byteLength === 0) checkAttached(name, data);
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

/** A view of memory that was detached looks like one of no elements: only another attempt to view that memory tells. */
function checkAttached(name: string, { buffer }: ArrayBufferView): void {
  try {
    new Uint8Array(buffer);
  } catch {
    throw new TypeError(`"${name}" is detached, as views of module memory are when it grows: take tensor.data again`);
  }
}
