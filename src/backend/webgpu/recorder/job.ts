import type { Output } from "../../../calls/arguments.ts";
import { contiguousStrides, elementCount } from "../../../tensor/shape.ts";
import { type DType, DeviceArray, type GpuTensor, type Tensor, placeOf, resultPlace } from "../../../tensor/tensor.ts";
import { type BufferPool, COPY_DST } from "../device/buffers.ts";
import { type Recorder, type Slice, deviceSlice } from "./recorder.ts";
import { ResidentTensor } from "../device/resident-tensor.ts";
import { copyStrided } from "../../../tensor/copy-strided.ts";

/** A result of a call: f32, row-major, and where the caller wants it, if anywhere. */
export interface ResultSpec {
  readonly shape: readonly number[];
  readonly out?: Output | undefined;
}

/** A call as its results and the commands that compute them. */
export interface Job {
  /** What is read. */
  readonly operands: readonly unknown[];
  readonly results: readonly ResultSpec[];
  readonly record: (recorder: Recorder, results: readonly Slice[]) => void;
}

/** What a call returns: a new tensor on the GPU or in an array, or the caller's `out`. */
export type ResultTensor = ResidentTensor<"f32"> | GpuTensor<"f32"> | Tensor<"f32" | "f64">;

/** A result that has its memory, where the commands write: the caller's buffer, one of the pool, or one that is read back. */
export interface PlacedResult extends ResultSpec {
  readonly place: "given" | "resident" | "host";
  readonly slice: Slice;
}

/** Records a call, with memory for its results; where these go that have no `out`, `first` says. */
export function recordJob(recorder: Recorder, { operands, results, record }: Job, first = placeOf(operands[0])): PlacedResult[] {
  const read = operands.filter((operand) => operand instanceof DeviceArray).map((operand) => operand.buffer);
  const copies: [Slice, Slice][] = [];
  const placed = results.map(({ shape, out }): PlacedResult => {
    if (!(out?.data instanceof DeviceArray)) {
      const slice = recorder.scratch(elementCount(shape) * 4);
      return { place: resultPlace(first, out?.data) === "gpu" ? "resident" : "host", slice, shape, out };
    }
    const target = recorder.input(out.data);
    // A shader may not have one buffer for reading and for writing, even where the ranges are apart.
    if (!read.includes(target.buffer)) return { place: "given", slice: target, shape, out };
    const slice = recorder.scratch(target.byteLength);
    copies.push([slice, deviceSlice(out.data, COPY_DST)]);
    return { place: "given", slice, shape, out };
  });
  const slices = placed.map((result) => result.slice);
  if (slices.some((slice) => slice.byteLength > 0)) record(recorder, slices);
  for (const [from, to] of copies) recorder.copy(from, to);
  return placed;
}

/** A tensor that owns memory which a recorder has held until now. */
export function claim<D extends DType>(pool: BufferPool, recorder: Recorder, slice: Slice, shape: readonly number[], dtype: D): ResidentTensor<D> {
  const { buffer } = recorder.locate(slice);
  pool.retain(buffer);
  return new ResidentTensor(pool, buffer, shape, dtype);
}

/** The tensor of a result that stays on the GPU, which may be used before its numbers are there. */
export function standing(pool: BufferPool, recorder: Recorder, { place, slice, shape, out }: PlacedResult): ResultTensor | undefined {
  return place === "resident" ? claim(pool, recorder, slice, shape, "f32") : place === "given" ? out?.tensor : undefined;
}

/** A result in the CPU's memory, from the bytes that were read back. */
export function deliver(shape: readonly number[], out: Output | undefined, { buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): ResultTensor {
  const data = new Float32Array(buffer, byteOffset, byteLength / 4);
  if (out === undefined) return { data: data.slice(), shape, dtype: "f32" };
  copyStrided(shape, data, contiguousStrides(shape), out.data as Float32Array, out.strides);
  return out.tensor;
}
