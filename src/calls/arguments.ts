import { UnsupportedError, describe } from "../errors/errors.ts";
import { parseFinite } from "../errors/options.ts";
import { broadcastStrides, contiguousStrides, elementCount, sameShape } from "../tensor/shape.ts";
import { DeviceArray, type FloatArray, type GpuTensor, type Tensor, type View, deviceView, kindOf, toView } from "../tensor/tensor.ts";

/** Floats that some backend computes with: arrays of f32 or f64, f16 as bits, or a GPU buffer of f32 or f16. */
export type Floats = FloatArray | Uint16Array | DeviceArray;

/** A checked floating-point argument, wherever it lives. */
export interface FloatView<F = Floats> extends View<F> {
  readonly dtype: "f32" | "f64" | "f16";
}

/** One that the CPU computes with. */
export interface HostView extends FloatView<FloatArray> {
  readonly dtype: "f32" | "f64";
}

/** Checks a floating-point argument. */
export function parseInput(name: string, value: unknown): FloatView {
  const view = toView(name, value);
  const { dtype } = view;
  if (dtype !== "f32" && dtype !== "f64" && dtype !== "f16")
    throw new UnsupportedError(`"${name}" has dtype ${dtype}; computed are f32 and f64, and f16 on a GPU`);
  return view as FloatView;
}

/** Checks a floating-point argument of a function that computes on the CPU. */
export function parseHost(name: string, value: unknown): HostView {
  const view = parseInput(name, value);
  checkHost(name, view.data, view.dtype);
  return view as HostView;
}

/** Checks that an argument is one that the CPU computes with. */
export function checkHost(name: string, data: object | undefined, dtype?: string): void {
  if (data instanceof DeviceArray) throw new TypeError(`"${name}" is in a GPU buffer, but this call computes on the CPU`);
  if (dtype === "f16") throw new UnsupportedError(`"${name}" has dtype f16; the CPU computes f32 and f64`);
}

/** An addend or mask with its strides over the input's shape, 0 along repeated dimensions. */
export interface Broadcast<A> {
  readonly data: A;
  readonly strides: readonly number[];
}

/** What happens to the input before a row operation: scale, then bias, then mask. */
export interface RowModifiers<F = Floats, M = Bytes> {
  readonly scale: number;
  readonly bias: Broadcast<F> | undefined;
  readonly mask: Broadcast<M> | undefined;
}

/** A mask's bytes. */
export type Bytes = Uint8Array | DeviceArray;

/** Checks the options that modify the input. */
export function parseRowModifiers(options: { readonly scale?: unknown; readonly bias?: unknown; readonly mask?: unknown }, x: FloatView): RowModifiers {
  return {
    scale: parseFinite("scale", options.scale, 1, computedType(x)),
    bias: options.bias === undefined ? undefined : parseBias(options.bias, x),
    mask: options.mask === undefined ? undefined : parseMask(options.mask, x.shape),
  };
}

function parseBias(value: unknown, x: FloatView): Broadcast<Floats> {
  const bias = parseInput("bias", value);
  const dtype = computedType(x);
  if (bias.dtype !== dtype) throw new TypeError(`"bias" expected dtype ${dtype}${dtype === x.dtype ? ' as "x"' : ""}, got ${bias.dtype}`);
  return { data: bias.data, strides: broadcastStrides("bias", bias.shape, bias.strides, x.shape) };
}

const MASK_KINDS = new Set(["Uint8Array", "Uint8ClampedArray", "Int8Array"]);

/** Checks a mask: bytes, not zero = keep, a shape that broadcasts to the input's. Returns its strides over that shape. */
export function parseMask(value: unknown, shape: readonly number[]): Broadcast<Bytes> {
  const view = isOnGpu(value) ? deviceView("mask", value, ["u8", "i8"]) : toView("mask", checkBytes(value));
  const { data } = view;
  const bytes = data instanceof DeviceArray ? data : new Uint8Array(data.buffer, data.byteOffset, data.length);
  return { data: bytes, strides: broadcastStrides("mask", view.shape, view.strides, shape) };
}

function checkBytes(value: unknown): unknown {
  const data = ArrayBuffer.isView(value) ? value : (value as { readonly data?: unknown } | null | undefined)?.data;
  if (!MASK_KINDS.has(kindOf(data))) throw new TypeError(`"mask" expected a Uint8Array (not zero = keep) or a tensor of one, got ${describe(data ?? value)}`);
  return value;
}

function isOnGpu(value: unknown): value is object {
  return typeof value === "object" && value !== null && "buffer" in value && !ArrayBuffer.isView(value);
}

/** The dtype that a call computes in and returns: that of its input, f32 where that is f16. */
export function computedType({ dtype }: FloatView): "f32" | "f64" {
  return dtype === "f64" ? "f64" : "f32";
}

/** Where a result goes: the caller's `out` after checking, or a new array. */
export interface Output<F = FloatArray | DeviceArray, T = Tensor<"f32" | "f64"> | GpuTensor<"f32">> {
  readonly data: F;
  readonly strides: readonly number[];
  /** What the call returns. */
  readonly tensor: T;
}

export type HostOutput = Output<FloatArray, Tensor<"f32" | "f64">>;

/** A new array for a result. */
export function newOutput(shape: readonly number[], dtype: "f32" | "f64"): HostOutput {
  const count = elementCount(shape);
  const data = dtype === "f32" ? new Float32Array(count) : new Float64Array(count);
  return { data, strides: contiguousStrides(shape), tensor: { data, shape, dtype } };
}

/**
 * Checks `out`, if there is one, against the result's shape and dtype, and against overlapping what the call reads: `inPlace`, if
 * given, may be the very same view, the arrays of `reads` may not be touched at all.
 */
export function parseOutput(
  value: unknown,
  shape: readonly number[],
  dtype: "f32" | "f64",
  inPlace: FloatView | undefined,
  reads: Readonly<Record<string, ArrayBufferView | DeviceArray | undefined>>,
): Output | undefined {
  if (value === undefined) return undefined;
  let out = parseInput("out", value);
  if (out.dtype !== dtype) throw new TypeError(`"out" expected dtype ${dtype}, got ${out.dtype}`);
  const flat = ArrayBuffer.isView(value);
  if (flat) {
    const [count, given = 0] = [elementCount(shape), out.shape[0]];
    if (given !== count) throw new RangeError(`"out" expected ${count} elements for shape ${describe(shape)}, got ${given}`);
    out = { ...out, shape, strides: contiguousStrides(shape) };
  } else if (!sameShape(out.shape, shape)) throw new RangeError(`"out" expected shape ${describe(shape)}, got ${describe(out.shape)}`);
  if (!flat && (value as { strides?: unknown }).strides !== undefined && selfOverlaps(out))
    throw new RangeError(`"out" expected strides that give every element its own place, got ${describe(out.strides)} for shape ${describe(out.shape)}`);
  if (inPlace !== undefined && overlaps(out.data, inPlace.data) && !sameView(out, inPlace)) {
    throw new RangeError(`"out" overlaps the input without being the same view of it`);
  }
  for (const name in reads) {
    const read = reads[name];
    if (read !== undefined && overlaps(out.data, read)) throw new RangeError(`"out" overlaps "${name}"`);
  }
  const data = out.data as FloatArray | DeviceArray;
  const tensor = flat ? { data, shape, dtype } : isTensor(value) ? value : { data, shape: out.shape, dtype, strides: out.strides };
  return { data, strides: out.strides, tensor: tensor as Tensor<"f32" | "f64"> };
}

function isTensor(value: unknown): value is Tensor<"f32" | "f64"> {
  return typeof value === "object" && value !== null && "shape" in value && "dtype" in value;
}

function sameView(a: FloatView, b: FloatView): boolean {
  return (
    a.dtype === b.dtype &&
    a.data.buffer === b.data.buffer &&
    a.data.byteOffset === b.data.byteOffset &&
    sameShape(a.shape, b.shape) &&
    sameShape(a.strides, b.strides)
  );
}

function overlaps(a: ArrayBufferView | DeviceArray, b: ArrayBufferView | DeviceArray): boolean {
  return a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.byteLength && b.byteOffset < a.byteOffset + a.byteLength;
}

/** Whether two index tuples of a view may name the same element. */
function selfOverlaps(view: View): boolean {
  const dims = view.shape.map((size, d) => ({ size, stride: view.strides[d] ?? 0 })).filter((dim) => dim.size > 1);
  dims.sort((a, b) => a.stride - b.stride);
  let reach = 1;
  for (const { size, stride } of dims) {
    if (stride < reach) return true;
    reach = stride * (size - 1) + reach;
  }
  return false;
}
