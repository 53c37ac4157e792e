import { UnsupportedError, describe } from "../errors/errors.ts";
import { parseFinite } from "../errors/options.ts";
import type { ArrayHandle, ResultType } from "../tensor/array.ts";
import { broadcastStrides, contiguousStrides, elementCount, sameShape } from "../tensor/shape.ts";
import { type View, deviceView, isOnGpu, kindOf, toView } from "../tensor/tensor.ts";
import type { Operand, Output } from "./call.ts";
import type { RowOperand } from "./row-call.ts";

/** Checks a floating-point argument, in whatever storage. */
export function parseInput(name: string, value: unknown): View {
  const view = toView(name, value);
  const { dtype, scales } = view.data;
  if (dtype === "i32") throw new TypeError(`"${name}" expected float data (Float32Array, Float64Array), got Int32Array`);
  if (dtype === "u8" || (dtype === "i8" && scales === undefined))
    throw new UnsupportedError(`"${name}" has dtype ${dtype}${dtype === "i8" ? " without scales" : ""}; expected f32, f64, f16, bf16, or i8 with scales`);
  return view;
}

/** Checks an argument that is computed in f32, in whatever storage. */
export function parseF32(name: string, value: unknown): View {
  const view = parseInput(name, value);
  if (view.data.dtype === "f64") throw new TypeError(`"${name}" expected dtype f32, got f64`);
  return view;
}

/** Checks a bias, which is computed in `dtype`. It may be f16 or bf16 if that is f32. */
export function parseFloatBias(value: unknown, dtype: "f32" | "f64", as = ""): View {
  const bias = parseInput("bias", value);
  if (computedType(bias) !== dtype || bias.data.scales !== undefined) throw new TypeError(`"bias" expected dtype ${dtype}${as}, got ${bias.data.dtype}`);
  return bias;
}

/** Checks that the CPU can compute with an operand or result. */
export function checkHost(name: string, { place }: ArrayHandle): void {
  if (place === "gpu") throw new TypeError(`"${name}" is in a GPU buffer, but this call computes on the CPU`);
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
  const dtype = computedType(x);
  const bias = parseFloatBias(value, dtype, dtype === x.data.dtype ? ' as "x"' : "");
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

/** The dtype in which a call computes and returns: f64 for f64, else f32. */
export function computedType({ data }: Operand): "f32" | "f64" {
  return data.dtype === "f64" ? "f64" : "f32";
}

/**
 * Checks `out`, if given: its shape and dtype, and that it does not overlap what the call reads. It may be the very same view as
 * `inPlace`, but must not touch any of `reads`. `name` says which result it is for, if there are several.
 */
export function parseOutput(
  value: unknown,
  shape: readonly number[],
  dtype: ResultType,
  inPlace: View | undefined,
  reads: Readonly<Record<string, Operand | undefined>>,
  name = "out",
): Output | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value)) throw new TypeError(`"${name}" expected a typed array or a tensor, got ${describe(value)}`);
  let out = dtype === "i32" ? toView(name, value) : parseInput(name, value);
  const given = out.data.dtype;
  const rounds = dtype === "f32" && out.data.place !== "gpu" && (given === "f16" || given === "bf16");
  if (given !== dtype && !rounds) throw new TypeError(`"${name}" expected dtype ${dtype}${dtype === "f32" ? ", f16 or bf16" : ""}, got ${given}`);
  const flat = ArrayBuffer.isView(value);
  if (flat) {
    const [count, length = 0] = [elementCount(shape), out.shape[0]];
    if (length !== count) throw new RangeError(`"${name}" expected ${count} elements for shape ${describe(shape)}, got ${length}`);
    out = { ...out, shape, strides: contiguousStrides(shape) };
  } else if (!sameShape(out.shape, shape)) throw new RangeError(`"${name}" expected shape ${describe(shape)}, got ${describe(out.shape)}`);
  if (!flat && (value as { strides?: unknown }).strides !== undefined && selfOverlaps(out))
    throw new RangeError(`"${name}" expected strides that give every element its own place, got ${describe(out.strides)} for shape ${describe(out.shape)}`);
  if (inPlace !== undefined && out.data.overlaps(inPlace.data) && !sameView(out, inPlace)) {
    throw new RangeError(`"${name}" overlaps the input without being the same view of it`);
  }
  for (const other of Object.keys(reads)) {
    const read = reads[other];
    if (read !== undefined && out.data.overlaps(read.data)) throw new RangeError(`"${name}" overlaps "${other}"`);
  }
  const tensor = flat
    ? { data: value, shape, dtype: given }
    : isTensor(value)
      ? value
      : { data: out.data.view(), shape: out.shape, dtype: given, strides: out.strides };
  return { data: out.data as Output["data"], strides: out.strides, tensor: tensor as Output["tensor"] };
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
