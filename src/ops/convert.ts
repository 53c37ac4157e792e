import { copyIn, copyOut } from "../backend/wasm/plans/copies.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { checkHost, parseF32 } from "../calls/arguments.ts";
import { newOutput } from "../calls/call.ts";
import { parseChoice } from "../errors/options.ts";
import { type CopyDim, copyDimsOf } from "../tensor/copy-strided.ts";
import { contiguousStrides, elementCount } from "../tensor/shape.ts";
import type { Tensor, TensorLike, View } from "../tensor/tensor.ts";

/** Elements that pass through scratch at a time. */
const PIECE_ELEMENTS = 1 << 15;

/**
 * Converts a tensor to another storage. Numbers are rounded to nearest even; those too large for f16 become infinite, NaN stays NaN.
 *
 * @param x - f32, f16, bf16 or i8 with scales, any shape up to eight dimensions
 * @param dtype - "f32", "f16" or "bf16"; 16-bit floats come as their bits, in a Uint16Array
 * @returns a new tensor of the same shape
 * @throws TypeError or RangeError if an argument is wrong, UnsupportedError for other dtypes, DisposedError if `x` has been disposed
 *
 * @example
 * ```ts
 * const half = convert(new Float32Array([1, -2]), "f16");
 * half.data; // [15360, 49152]
 * convert(half, "f32").data; // [1, -2]
 * ```
 */
export function convert<D extends "f32" | "f16" | "bf16">(x: TensorLike, dtype: D): Tensor<D> {
  return convertOn(defaultRuntime(), x, dtype);
}

/** The same with the kernels of a given runtime. @internal */
export function convertOn<D extends "f32" | "f16" | "bf16">(runtime: Runtime, x: TensorLike, dtype: D): Tensor<D> {
  const view = parseF32("x", x);
  checkHost("x", view.data);
  return convertView(runtime, view, parseDType(dtype)) as Tensor<D>;
}

/** A checked tensor in another storage. @internal */
export function convertView<D extends "f32" | "f16" | "bf16">(runtime: Runtime, { data, shape, strides }: View, dtype: D): Tensor<D> {
  const out = newOutput(shape, dtype);
  const dims = copyDimsOf(shape, strides, contiguousStrides(shape));
  inPieces(dims, PIECE_ELEMENTS, (piece, from, to) => {
    const inner = contiguousStrides(piece.map(({ size }) => size));
    const outward = piece.map(({ size, to: outside }, d) => ({ size, from: inner[d] ?? 0, to: outside }));
    const mark = runtime.memory.mark();
    try {
      const address = runtime.memory.take(elementCount(piece.map(({ size }) => size)) * 4);
      copyIn(runtime, { array: data, at: from, address, dims: piece.map((dim, d) => ({ ...dim, to: inner[d] ?? 0 })), columns: 0 });
      copyOut(runtime, { array: out.data, at: to, address, dims: outward, columns: 0 });
    } finally {
      runtime.memory.release(mark);
    }
  });
  return out.tensor as Tensor<D>;
}

function parseDType(value: unknown): "f32" | "f16" | "bf16" {
  if (value === undefined) throw new TypeError(`"dtype" expected "f32" | "f16" | "bf16", got undefined`);
  return parseChoice("dtype", value, ["f32", "f16", "bf16"]);
}

/** Visits a copy in pieces of at most `most` elements: the dimensions of each, and where it begins on both sides. */
function inPieces(dims: readonly CopyDim[], most: number, visit: (piece: readonly CopyDim[], from: number, to: number) => void, from = 0, to = 0): void {
  const [outer, ...inner] = dims;
  const count = elementCount(inner.map(({ size }) => size));
  if (outer === undefined) visit([], from, to);
  else if (count > most) for (let i = 0; i < outer.size; i++) inPieces(inner, most, visit, from + i * outer.from, to + i * outer.to);
  else {
    const step = Math.max(1, Math.floor(most / Math.max(count, 1)));
    for (let i = 0; i < outer.size; i += step) {
      visit([{ ...outer, size: Math.min(step, outer.size - i) }, ...inner], from + i * outer.from, to + i * outer.to);
    }
  }
}
