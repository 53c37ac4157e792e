import type { DType, DTypeData } from "./tensor.ts";

/** Copies a tensor between two arrays of the same kind, each with strides of its own, in elements. */
export function copyStrided<A extends DTypeData[DType] | Uint8Array>(
  shape: readonly number[],
  from: A,
  fromStrides: readonly number[],
  to: A,
  toStrides: readonly number[],
): void {
  const last = shape.length - 1;
  const visit = (d: number, at: number, toAt: number): void => {
    const size = d > last ? 1 : (shape[d] ?? 0);
    const step = fromStrides[d] ?? 0;
    const toStep = toStrides[d] ?? 0;
    if (d < last) for (let i = 0; i < size; i++) visit(d + 1, at + i * step, toAt + i * toStep);
    else if (step === 1 && toStep === 1) to.set(from.subarray(at, at + size), toAt);
    else for (let i = 0; i < size; i++) to[toAt + i * toStep] = from[at + i * step] ?? 0;
  };
  visit(0, 0, 0);
}
