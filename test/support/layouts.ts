import { expect } from "vitest";
import type { Instance } from "../../src/testing.ts";
import type { FloatArray, Tensor } from "../../src/index.ts";
import { countOf, offsetsOf as computeOffsets, stridesOf } from "../reference/indices.ts";
import { memoize } from "./memo.ts";
import type { FloatType } from "./tolerances.ts";

// Where a tensor may lie, and proof that nothing around it was touched. A tensor is laid out in a backing array that is
// filled with sentinels first: before it, behind it, and in every gap that its strides leave.

/** How the elements of a shape lie in memory. */
export const LAYOUTS = ["contiguous", "reversed", "row gaps", "element gaps", "swapped"] as const;
export type Layout = (typeof LAYOUTS)[number];

/** Whose memory: an array of the caller, or the module's. */
export const HOMES = ["array", "module"] as const;
export type Home = (typeof HOMES)[number];

/** A tensor with sentinels around it. */
export interface Placed {
  readonly tensor: Tensor<FloatType>;
  /** The elements in row-major order, read now. */
  values(): FloatArray;
  /** Asserts that all bits outside the tensor are as they were. */
  expectSentinels(label: string): void;
  dispose(): void;
}

/** A quiet NaN in f32 and, twice, in f64, with a payload that no computation makes; reading it by accident poisons the row. */
const SENTINEL = 0x7ffda5a5;
/** Elements of sentinel before and behind: more than the 16 that a kernel's loop takes at once. An odd number misaligns the tensor. */
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

/** Lays a tensor out; without `values` its elements hold sentinels too. */
export function place(
  instance: Instance,
  dtype: FloatType,
  shape: readonly number[],
  { layout = "contiguous", home = "array", values }: { layout?: Layout; home?: Home; values?: ArrayLike<number> } = {},
): Placed {
  const strides = stridesFor(layout, shape);
  const offsets = offsetsOf(shape, strides);
  const extent = offsets.reduce((most, offset) => Math.max(most, offset + 1), 0);
  const total = extent + 2 * GUARD;
  const kept = home === "module" ? instance.empty([total], { dtype }) : undefined;
  const own = dtype === "f32" ? new Float32Array(total) : new Float64Array(total);
  // Module memory may grow between two looks.
  const backing = (): FloatArray => kept?.data ?? own;
  words(backing()).fill(SENTINEL);
  const data = (): FloatArray => backing().subarray(GUARD, GUARD + extent);
  if (values !== undefined) {
    const target = data();
    for (let i = 0; i < offsets.length; i++) target[offsets[i] ?? -1] = values[i] ?? NaN;
  }
  const tensor = {
    get data() {
      return data();
    },
    shape,
    dtype,
    ...(layout === "contiguous" ? {} : { strides }),
  } as Tensor<FloatType>;
  return {
    tensor,
    values: () => readTensor(tensor),
    expectSentinels: (label) => {
      const bits = words(backing());
      const perElement = bits.length / total;
      const inside = new Uint8Array(total);
      for (const offset of offsets) inside[GUARD + offset] = 1;
      let broken = -1;
      for (let i = 0; i < bits.length && broken < 0; i++) if (bits[i] !== SENTINEL && inside[Math.floor(i / perElement)] === 0) broken = i;
      expect(broken, `${label}: word ${broken} of ${bits.length} outside the tensor was written`).toBe(-1);
    },
    dispose: () => kept?.dispose(),
  };
}

/** The elements of any tensor in row-major order, as a copy. */
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
