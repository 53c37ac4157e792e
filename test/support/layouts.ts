import { expect } from "vitest";
import type { FloatArray, Tensor, TensorLike } from "../../src/index.ts";
import { countOf, offsetsOf as computeOffsets, stridesOf } from "../reference/indices.ts";
import { memoize } from "./memo.ts";
import type { Awaitable, Home, Subject } from "./subjects.ts";
import type { FloatType } from "./tolerances.ts";

// Places tensors in memory in different ways, and proves that nothing around them was touched. A tensor is placed in a backing array
// filled with sentinels: before it, after it, and in every gap that its strides leave.

/** How the elements of a shape lie in memory. */
export const LAYOUTS = ["contiguous", "reversed", "row gaps", "element gaps", "swapped"] as const;
export type Layout = (typeof LAYOUTS)[number];

/** A flat run of numbers somewhere, with tensors as views of it. */
export interface Store {
  /** A tensor whose first element is at `first`. */
  view(first: number, shape: readonly number[], strides?: readonly number[]): TensorLike;
  /** All the numbers, at present. */
  read(): Awaitable<FloatArray | Uint8Array>;
  dispose(): void;
}

/** Stores numbers where `home` says. */
export function store(subject: Subject, home: Home, data: FloatArray | Uint8Array): Awaitable<Store> {
  if (home !== "array") return subject.keep(data);
  return {
    view: (first, shape, strides) => ({ data: data.subarray(first), shape, ...dtypeOf(data), ...(strides && { strides }) }),
    read: () => data,
    dispose: () => undefined,
  };
}

/** The dtype of a tensor with such data; masks have none. */
export function dtypeOf(data: FloatArray | Uint8Array): { readonly dtype?: FloatType } {
  return data instanceof Uint8Array ? {} : { dtype: data instanceof Float32Array ? "f32" : "f64" };
}

/** Where tensors may have arbitrary strides. */
export function hostHomes({ homes }: Subject): readonly Home[] {
  return homes.filter((home) => home !== "device");
}

/** The layouts that a tensor may have in a place: on the GPU, tensors are contiguous. */
export function layoutsIn(home: Home): readonly Layout[] {
  return home === "device" ? ["contiguous"] : LAYOUTS;
}

/** A tensor with sentinels around it. */
export interface Placed {
  readonly tensor: Tensor<FloatType>;
  /** The current elements in row-major order. */
  values(): Promise<FloatArray>;
  /** Asserts that all bits outside the tensor are unchanged. */
  expectSentinels(label: string): Promise<void>;
  dispose(): void;
}

/** A quiet NaN in f32 and, twice, in f64, with a payload that no computation produces. Reading it by accident poisons the row. */
const SENTINEL = 0x7ffda5a5;
/** Sentinel elements before and after: more than the 16 that a kernel's loop takes at once. An odd number misaligns the tensor. */
const GUARD = 21;

const offsetsOf = memoize(computeOffsets);

/** Strides for a layout. */
export function stridesFor(layout: Layout, shape: readonly number[]): number[] {
  const along = (order: readonly number[], step: number, gap: number): number[] => {
    const strides = new Array<number>(shape.length).fill(1);
    let next = step;
    for (const d of [...order].reverse()) {
      strides[d] = next;
      next = next * (shape[d] ?? 1) + gap;
    }
    return strides;
  };
  const order = shape.map((_, d) => d);
  switch (layout) {
    case "contiguous":
      return stridesOf(shape);
    case "reversed":
      return along([...order].reverse(), 1, 0);
    case "row gaps":
      return along(order, 1, 3);
    case "element gaps":
      return along(order, 2, 1);
    case "swapped":
      return along(shape.length < 2 ? order : [...order.slice(0, -2), shape.length - 1, shape.length - 2], 1, 2);
    default:
      return layout satisfies never;
  }
}

/** Places a tensor; without `values` its elements are sentinels too. */
export async function place(
  subject: Subject,
  dtype: FloatType,
  shape: readonly number[],
  { layout = "contiguous", home = "array", values }: { layout?: Layout; home?: Home; values?: ArrayLike<number> } = {},
): Promise<Placed> {
  const strides = stridesFor(layout, shape);
  const offsets = offsetsOf(shape, strides);
  const extent = offsets.reduce((most, offset) => Math.max(most, offset + 1), 0);
  const total = extent + 2 * GUARD;
  const backing = dtype === "f32" ? new Float32Array(total) : new Float64Array(total);
  words(backing).fill(SENTINEL);
  if (values !== undefined) for (let i = 0; i < offsets.length; i++) backing[GUARD + (offsets[i] ?? NaN)] = values[i] ?? NaN;
  const stored = await store(subject, home, backing);
  return {
    tensor: stored.view(GUARD, shape, layout === "contiguous" ? undefined : strides) as Tensor<FloatType>,
    values: async () => {
      const all = (await stored.read()) as FloatArray;
      const result = dtype === "f32" ? new Float32Array(offsets.length) : new Float64Array(offsets.length);
      for (let i = 0; i < offsets.length; i++) result[i] = all[GUARD + (offsets[i] ?? NaN)] ?? NaN;
      return result;
    },
    expectSentinels: async (label) => {
      const bits = words(await stored.read());
      const perElement = bits.length / total;
      const inside = new Uint8Array(total);
      for (const offset of offsets) inside[GUARD + offset] = 1;
      let broken = -1;
      for (let i = 0; i < bits.length && broken < 0; i++) if (bits[i] !== SENTINEL && inside[Math.floor(i / perElement)] === 0) broken = i;
      expect(broken, `${label}: word ${broken} of ${bits.length} outside the tensor was written`).toBe(-1);
    },
    dispose: () => stored.dispose(),
  };
}

/** Copies a tensor's elements in row-major order. */
export function readTensor(tensor: Tensor<FloatType>): FloatArray {
  const { data } = tensor;
  const offsets = offsetsOf(tensor.shape, tensor.strides ?? stridesOf(tensor.shape));
  const result = tensor.dtype === "f32" ? new Float32Array(countOf(tensor.shape)) : new Float64Array(countOf(tensor.shape));
  for (let i = 0; i < offsets.length; i++) result[i] = data[offsets[i] ?? -1] ?? NaN;
  return result;
}

/** The bits of an array, as a view. */
export function words(data: ArrayBufferView): Uint32Array {
  return new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4);
}
