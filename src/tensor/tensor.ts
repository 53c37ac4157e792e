import { describe } from "../errors/errors.ts";
import { ArrayHandle, BYTES, type DType, type Scales } from "./array.ts";
import type { GPUBufferLike } from "./gpu-types.ts";
import { checkOptions } from "../errors/options.ts";
import { MAX_RANK, contiguousStrides, elementCount, elementsOf, extentOf, parseShape } from "./shape.ts";

/** A `Float16Array`, typed by structure because a project's TypeScript library may lack it. */
export interface Float16ArrayLike extends ArrayBufferView {
  /** Distinguishes it from other arrays. */
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
  /** IEEE half precision, as floats or as bits. */
  f16: Float16ArrayLike | Uint16Array;
  /** The upper half of an IEEE single, as bits. */
  bf16: Uint16Array;
  /** Bytes. */
  u8: Uint8Array | Uint8ClampedArray;
  /** Signed bytes: of a mask, or with a scale for each row. */
  i8: Int8Array;
  /** Indices and tokens. */
  i32: Int32Array;
}

/** The dtypes that a typed array may hold: `f16` or `bf16` for a `Uint16Array`, a single one for any other. */
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
  /** Distance between neighbours along each dimension, in elements; never negative. Default: row-major without gaps. */
  readonly strides?: readonly number[];
}

/** Floats in 8 bits: an element is `data · scale of its row`. Rows are along the last dimension, and lie without gaps. */
export interface QuantizedTensor extends Tensor<"i8"> {
  /** One for each row: the shape without its last dimension. */
  readonly scales: Float32Array;
}

/** A float array of either width. */
export type FloatArray = Float32Array | Float64Array;

/** A typed array with a shape, like the tensors of this package, ONNX Runtime and transformers.js. */
export interface ShapedArray<A = unknown> {
  /** A typed array. */
  readonly data: A;
  /** The size of each dimension. */
  readonly shape?: Iterable<number | bigint>;
  /** The same, under ONNX Runtime's name. */
  readonly dims?: Iterable<number | bigint>;
  /** A {@link DType}, if the array does not determine it. */
  readonly dtype?: string;
  /** The same in ONNX Runtime's words, such as "float16"; unknown ones are ignored. */
  readonly type?: string;
  /** In elements. Default: row-major without gaps. */
  readonly strides?: readonly number[];
  /** Of an `Int8Array` that stands for floats: one for each row. */
  readonly scales?: unknown;
}

/** Numbers in an array, or in arrays of equal lengths within each other. */
export type NestedNumbers = readonly (number | NestedNumbers)[];

/**
 * What every function accepts to write to: a typed array (one-dimensional), or any object with `data` and `shape`, or with `data`
 * and `dims` as in ONNX Runtime. The typed array determines the dtype; a `Uint16Array` needs `dtype` (or `type`).
 */
export type OutputLike = FloatArray | Float16ArrayLike | ShapedArray;

/** What every function accepts as a tensor: the same, or plain arrays of numbers, which are copied as f32. */
export type TensorLike = OutputLike | NestedNumbers;

/** A mask: bytes, or bytes with a shape as `tensor` returns them. */
export type MaskLike = DTypeData["u8" | "i8"] | ShapedArray<DTypeData["u8" | "i8"]>;

/** A tensor in a GPU buffer, row-major without gaps, as an engine takes and returns it. */
export interface GpuTensor<D extends DType = DType> {
  /** The buffer that holds it. */
  readonly buffer: GPUBufferLike;
  /** The size of each dimension. */
  readonly shape: readonly number[];
  /** How the numbers are stored. */
  readonly dtype: D;
  /** Where the tensor starts in the buffer, in bytes; a multiple of 4. Default 0. */
  readonly offset?: number;
}

/** A tensor in an engine's GPU buffer: a result, or created by `upload` or `empty`. */
export interface ResidentTensor<D extends DType = DType> extends GpuTensor<D> {
  readonly offset: number;
  /** Frees the GPU memory. Using the tensor afterwards is an error; disposing again does nothing. */
  dispose(): void;
  /** The same as {@link ResidentTensor.dispose}, for `using`. */
  [Symbol.dispose](): void;
}

/** The dtype of a result: f32, unless the input is f64. Both if the input's type does not determine it. */
export type DTypeOf<T> = unknown extends T ? "f32" | "f64" : T extends ShapedArray<infer A> ? DTypeOf<A> : T extends Float64Array ? "f64" : "f32";

/** Where a call with several results `R` may put them, by name. */
export type OutOf<R> = { readonly [K in keyof R]?: R[K] extends Tensor<"i32"> ? TensorLike | Int32Array : TensorLike };

/** A checked tensor: its numbers, wherever they are, and its strides, always present. */
export interface View {
  readonly data: ArrayHandle;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

const TENSOR_OPTIONS = new Set(["strides", "dtype"]);

/**
 * Gives a typed array a shape, without copying.
 *
 * @param data - the numbers, row-major unless `strides` is given
 * @param shape - the size of each dimension; one-dimensional when absent
 * @param options - `strides` in elements, and `dtype` if the array does not determine it (`Uint16Array`: "f16" or "bf16")
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
  shape?: Iterable<number | bigint>,
  options: { readonly strides?: readonly number[]; readonly dtype?: D } = {},
): Tensor<D> {
  checkOptions(options, TENSOR_OPTIONS);
  if (!ArrayBuffer.isView(data)) throw new TypeError(`"data" expected a typed array, got ${describe(data)}`);
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

/** Checks a tensor argument and fills in what it leaves out. `name` is the argument's name, for messages. */
export function toView(name: string, value: unknown): View {
  if (ArrayBuffer.isView(value)) {
    const data = ArrayHandle.of(value as DTypeData[DType], dtypeOf(name, value, undefined), name);
    return { data, shape: [data.length], strides: [1] };
  }
  if (Array.isArray(value)) return fromNumbers(name, value);
  if (typeof value !== "object" || value === null) throw new TypeError(`"${name}" expected a typed array or a tensor, got ${describe(value)}`);
  const t = value as { readonly [K in keyof ShapedArray]: unknown };
  const given = t.data;
  if (given === undefined && isOnGpu(value)) return deviceView(name, value, FLOATS_ON_GPU);
  if (!ArrayBuffer.isView(given)) {
    throw new TypeError(
      `"${name}" expected a typed array or a tensor with "data" and "shape", got ${describe(value)}${"dtype" in value ? "; copy kept tensors as { ...t, data: t.data }" : ""}`,
    );
  }
  const dtype = dtypeOf(name, given, t.dtype ?? ONNX_TYPES[t.type as string]);
  const shape = parseShape(name, t.shape ?? t.dims);
  const data = ArrayHandle.of(given as DTypeData[DType], dtype, name, dtype === "i8" && t.scales !== undefined ? parseScales(name, t, shape) : undefined);
  const strides = t.strides === undefined ? contiguousStrides(shape) : parseStrides(name, t.strides, shape);
  const extent = extentOf(shape, strides);
  if (data.length < extent) {
    const needs = t.strides === undefined ? `needs ${extent} elements` : `with strides ${describe(strides)} reaches element ${extent - 1}`;
    throw new RangeError(`"${name}" of shape ${describe(shape)} ${needs}, but its data has ${data.length}`);
  }
  // Leave out what follows the view: it may be written while the view is read.
  return { data: data.first(extent), shape, strides };
}

/** Checks the scales of quantised numbers. */
function parseScales(name: string, { scales, strides }: { readonly scales?: unknown; readonly strides?: unknown }, shape: readonly number[]): Scales {
  if (kindOf(scales) !== "Float32Array") throw new TypeError(`"${name}" expected a Float32Array as its scales, got ${describe(scales)}`);
  if (strides !== undefined) throw new TypeError(`"${name}" expected no strides beside scales`);
  const rowLength = shape.at(-1) ?? 1;
  const rows = elementCount(shape.slice(0, -1));
  const given = scales as Float32Array;
  if (given.length !== rows) throw new RangeError(`"${name}" of shape ${describe(shape)} expected ${rows} scales, got ${given.length}`);
  return { data: ArrayHandle.of(given, dtypeOf(name, given, "f32") as "f32", name), rowLength };
}

/** Whether a value claims to be a tensor in a GPU buffer. Typed arrays, and proxies of them, have a buffer as well. */
export function isOnGpu(value: unknown): value is object {
  return typeof value === "object" && value !== null && "buffer" in value && !("BYTES_PER_ELEMENT" in value);
}

/** A row-major f32 copy of an array of numbers, or of arrays of equal lengths that hold them. */
function fromNumbers(name: string, value: readonly unknown[]): View {
  const sizes: number[] = [];
  for (let inner: unknown = value; Array.isArray(inner) && sizes.length <= MAX_RANK; inner = (inner as unknown[])[0]) sizes.push(inner.length);
  const shape = parseShape(name, sizes);
  const data = new Float32Array(elementCount(shape));
  let next = 0;
  const copy = (part: unknown, place: string, depth: number): void => {
    const size = shape[depth];
    if (size === undefined ? typeof part !== "number" : !Array.isArray(part) || part.length !== size)
      throw new TypeError(`"${place}" expected ${size === undefined ? "a number" : `${size} elements like its neighbours`}, got ${describe(part)}`);
    if (size === undefined) data[next++] = part as number;
    else for (let i = 0; i < size; i++) copy((part as unknown[])[i], `${place}[${i}]`, depth + 1);
  };
  copy(value, name, 0);
  return { data: ArrayHandle.of(data, "f32", name), shape, strides: contiguousStrides(shape) };
}

const FLOATS_ON_GPU = ["f32", "f16"] as const;

/** Checks a tensor in a GPU buffer. */
export function deviceView(name: string, value: unknown, dtypes: readonly ("f32" | "f16" | "u8" | "i8")[] = ["f32", "f16", "u8", "i8"]): View {
  if (typeof value !== "object" || value === null) throw new TypeError(`"${name}" expected a tensor in a GPU buffer, got ${describe(value)}`);
  const { buffer, shape: given, dtype: stated, offset = 0 } = value as { buffer?: unknown; shape?: unknown; dtype?: unknown; offset?: unknown };
  if (typeof (buffer as GPUBufferLike | null | undefined)?.size !== "number")
    throw new TypeError(`"${name}" expected a GPUBuffer as its buffer, got ${describe(buffer)}`);
  const dtype = dtypes.find((d) => d === stated);
  if (dtype === undefined) throw new TypeError(`"${name}" expected dtype ${dtypes.map((d) => `"${d}"`).join(" or ")} in a GPU buffer, got ${describe(stated)}`);
  if ((value as { strides?: unknown }).strides !== undefined) throw new TypeError(`"${name}" expected no strides in a GPU buffer`);
  const shape = parseShape(name, given);
  const count = elementCount(shape);
  const bytes = count * BYTES[dtype];
  const { size } = buffer as GPUBufferLike;
  if (typeof offset !== "number" || !(offset >= 0) || offset % 4 !== 0 || offset + bytes > size)
    throw new RangeError(`"${name}" expected an offset, a multiple of 4, from which ${bytes} bytes fit into the buffer of ${size}, got ${describe(offset)}`);
  return { data: ArrayHandle.onGpu(buffer as GPUBufferLike, dtype, offset, count), shape, strides: contiguousStrides(shape) };
}

function parseStrides(name: string, value: unknown, shape: readonly number[]): readonly number[] {
  const strides = elementsOf(value);
  if (strides?.length !== shape.length) throw new RangeError(`"${name}" expected one stride per dimension (${shape.length}), got ${describe(value)}`);
  for (const s of strides) {
    if (typeof s !== "number" || !Number.isSafeInteger(s) || s < 0)
      throw new RangeError(`"${name}" expected strides that are non-negative integers, got ${describe(s)}`);
  }
  return strides as number[];
}

/** The dtypes that each kind of typed array may hold. If there are several, `dtype` has to say which. */
const DTYPES_OF: Readonly<Record<string, readonly DType[]>> = {
  Float32Array: ["f32"],
  Float64Array: ["f64"],
  Float16Array: ["f16"],
  Uint16Array: ["f16", "bf16"],
  Uint8Array: ["u8"],
  Uint8ClampedArray: ["u8"],
  Int8Array: ["i8"],
  Int32Array: ["i32"],
};

/** ONNX Runtime's dtype names. */
const ONNX_TYPES: Readonly<Record<string, DType>> = {
  float32: "f32",
  float64: "f64",
  float16: "f16",
  bfloat16: "bf16",
  bool: "u8",
  uint8: "u8",
  int8: "i8",
  int32: "i32",
};

/** A value's class name, taken from its tag: this also recognises arrays of another realm, and Float16Array where the global is missing. */
export function kindOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Checks that a typed array still has its memory, and finds its dtype. */
function dtypeOf(name: string, data: ArrayBufferView, stated: unknown): DType {
  if (data instanceof Float32Array && data.length > 0 && (stated === undefined || stated === "f32")) return "f32";
  const kind = kindOf(data);
  const known = DTYPES_OF[kind] ?? [];
  const first = known[0];
  if (first === undefined) throw new TypeError(`"${name}" expected float data (Float32Array, Float64Array), got ${kind}`);
  if (data.byteLength === 0) checkInBounds(name, data);
  if (stated === undefined) {
    if (known.length > 1) throw new TypeError(`"${name}" is a Uint16Array: say dtype "f16" or "bf16"`);
    return first;
  }
  const match = known.find((d) => d === stated);
  if (match === undefined) throw new TypeError(`"${name}" expected dtype ${known.map((d) => `"${d}"`).join(" or ")} for a ${kind}, got ${describe(stated)}`);
  return match;
}

/** A view that is detached, or beyond the end of its resizable buffer, looks like an empty one. Only its methods tell them apart: they throw. */
function checkInBounds(name: string, data: ArrayBufferView): void {
  try {
    Uint8Array.prototype.indexOf.call(data as Uint8Array, 0);
  } catch {
    throw new TypeError(`"${name}" is detached or out of its buffer's bounds, as views of module memory are when it grows: take tensor.data again`);
  }
}
