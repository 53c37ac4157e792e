import { UnsupportedError, describe } from "../errors/errors.ts";
import { parseFinite } from "../errors/options.ts";
import { ArrayHandle } from "../tensor/array.ts";
import { broadcastStrides, contiguousStrides, elementCount, sameShape } from "../tensor/shape.ts";
import { type GpuTensor, type Tensor, type View, deviceView, isOnGpu, kindOf, toView } from "../tensor/tensor.ts";
import type { Operand, Output } from "./call.ts";
import type { RowOperand } from "./row-call.ts";

/** Checks a floating-point argument. */
export function parseInput(name: string, value: unknown): View {
  const view = toView(name, value);
  const { dtype } = view.data;
  if (dtype !== "f32" && dtype !== "f64" && dtype !== "f16")
    throw new UnsupportedError(`"${name}" has dtype ${dtype}; computed are f32 and f64, and f16 on a GPU`);
  return view;
}

/** Checks an argument that must be f32. */
export function parseF32(name: string, value: unknown): View {
  const view = parseInput(name, value);
  if (view.data.dtype !== "f32") throw new TypeError(`"${name}" expected dtype f32, got ${view.data.dtype}`);
  return view;
}

/** Checks that the CPU can compute with an operand or result. */
export function checkHost(name: string, { place, dtype }: ArrayHandle): void {
  if (place === "gpu") throw new TypeError(`"${name}" is in a GPU buffer, but this call computes on the CPU`);
  if (dtype === "f16") throw new UnsupportedError(`"${name}" has dtype f16; the CPU computes f32 and f64`);
}

/** What is applied to the input before a row operation: scale, then bias, then mask. */
export interface RowModifiers {
  readonly scale: number;
  readonly bias: RowOperand | undefined;
  readonly mask: RowOperand | undefined;
}

/** Checks the options that modify the input. */
export function parseRowModifiers(options: { readonly scale?: unknown; readonly bias?: unknown; readonly mask?: unknown }, x: View): RowModifiers {
  return {
    scale: parseFinite("scale", options.scale, 1, computedType(x)),
    bias: options.bias === undefined ? undefined : parseBias(options.bias, x),
    mask: options.mask === undefined ? undefined : parseMask(options.mask, x.shape),
  };
}

function parseBias(value: unknown, x: View): RowOperand {
  const bias = parseInput("bias", value);
  const dtype = computedType(x);
  if (bias.data.dtype !== dtype) throw new TypeError(`"bias" expected dtype ${dtype}${dtype === x.data.dtype ? ' as "x"' : ""}, got ${bias.data.dtype}`);
  return { data: bias.data, strides: broadcastStrides("bias", bias.shape, bias.strides, x.shape) };
}

const MASK_KINDS = new Set(["Uint8Array", "Uint8ClampedArray", "Int8Array"]);

/** Checks a mask: bytes, nonzero = keep, in a shape that broadcasts to the input's. Returns its strides over that shape. */
export function parseMask(value: unknown, shape: readonly number[]): RowOperand {
  const view = isOnGpu(value) ? deviceView("mask", value, ["u8", "i8"]) : toView("mask", checkBytes(value));
  return { data: view.data, strides: broadcastStrides("mask", view.shape, view.strides, shape) };
}

function checkBytes(value: unknown): unknown {
  const data = ArrayBuffer.isView(value) ? value : (value as { readonly data?: unknown } | null | undefined)?.data;
  if (!MASK_KINDS.has(kindOf(data))) throw new TypeError(`"mask" expected a Uint8Array (not zero = keep) or a tensor of one, got ${describe(data ?? value)}`);
  return value;
}

/** The dtype in which a call computes and returns: its input's, or f32 if that is f16. */
export function computedType({ data }: Operand): "f32" | "f64" {
  return data.dtype === "f64" ? "f64" : "f32";
}

/**
 * Checks `out`, if given: its shape and dtype, and that it does not overlap what the call reads. It may be the very same view as
 * `inPlace`, but must not touch any of `reads`.
 */
export function parseOutput(
  value: unknown,
  shape: readonly number[],
  dtype: "f32" | "f64",
  inPlace: View | undefined,
  reads: Readonly<Record<string, Operand | undefined>>,
): Output | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value)) throw new TypeError(`"out" expected a typed array or a tensor, got ${describe(value)}`);
  let out = parseInput("out", value);
  if (out.data.dtype !== dtype) throw new TypeError(`"out" expected dtype ${dtype}, got ${out.data.dtype}`);
  const flat = ArrayBuffer.isView(value);
  if (flat) {
    const [count, given = 0] = [elementCount(shape), out.shape[0]];
    if (given !== count) throw new RangeError(`"out" expected ${count} elements for shape ${describe(shape)}, got ${given}`);
    out = { ...out, shape, strides: contiguousStrides(shape) };
  } else if (!sameShape(out.shape, shape)) throw new RangeError(`"out" expected shape ${describe(shape)}, got ${describe(out.shape)}`);
  if (!flat && (value as { strides?: unknown }).strides !== undefined && selfOverlaps(out))
    throw new RangeError(`"out" expected strides that give every element its own place, got ${describe(out.strides)} for shape ${describe(out.shape)}`);
  if (inPlace !== undefined && out.data.overlaps(inPlace.data) && !sameView(out, inPlace)) {
    throw new RangeError(`"out" overlaps the input without being the same view of it`);
  }
  for (const name of Object.keys(reads)) {
    const read = reads[name];
    if (read !== undefined && out.data.overlaps(read.data)) throw new RangeError(`"out" overlaps "${name}"`);
  }
  const tensor = flat ? { data: value, shape, dtype } : isTensor(value) ? value : { data: out.data.view(), shape: out.shape, dtype, strides: out.strides };
  return { data: out.data as ArrayHandle<"f32" | "f64">, strides: out.strides, tensor: tensor as Tensor<"f32" | "f64"> | GpuTensor };
}

function isTensor(value: unknown): boolean {
  return typeof value === "object" && value !== null && "shape" in value && "dtype" in value;
}

function sameView(a: View, b: View): boolean {
  const [p, q] = [a.data, b.data];
  return p.dtype === q.dtype && p.owner === q.owner && p.byteOffset === q.byteOffset && sameShape(a.shape, b.shape) && sameShape(a.strides, b.strides);
}

/** Whether two different indices of a view may refer to the same element. */
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
