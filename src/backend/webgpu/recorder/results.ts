import { type Call, type Result, type ResultTensor, firstPlace, operandsOf, resultPlace, resultsOf } from "../../../calls/call.ts";
import type { DType, Place } from "../../../tensor/array.ts";
import { copyDimsOf, copyStrided } from "../../../tensor/copy-strided.ts";
import { contiguousStrides, elementCount } from "../../../tensor/shape.ts";
import { type BufferPool, COPY_DST } from "../device/buffers.ts";
import { ResidentTensor } from "../device/resident-tensor.ts";
import { type Recorder, type Slice, deviceSlice } from "./recorder.ts";

/** Records the commands of a call. They write its results (f32, row-major, without gaps) to slices by name. */
export type RecordCall = (recorder: Recorder, call: never, slices: never) => void;

/** A result with its memory on the GPU: where commands write it, and where it goes afterwards. */
export interface Target {
  readonly name: string;
  readonly result: Result;
  readonly slice: Slice;
  readonly place: Place;
}

/** Records a call, with memory for its results. `first` decides where results without `out` go. */
export function recordCall(recorder: Recorder, call: Call, record: RecordCall, first = firstPlace(call)): Target[] {
  const read = operandsOf(call).map(([, { data }]) => data.owner);
  const copies: [Slice, Slice][] = [];
  const targets = resultsOf(call).map(([name, result]): Target => {
    const place = resultPlace(result, first);
    const data = result.out?.data;
    if (data?.place !== "gpu") return { name, result, place, slice: recorder.scratch(elementCount(result.shape) * 4) };
    const given = recorder.input(data);
    // A shader may not bind one buffer for both reading and writing, even if the ranges are apart.
    if (!read.includes(given.buffer)) return { name, result, place, slice: given };
    const slice = recorder.scratch(given.byteLength);
    copies.push([slice, deviceSlice(data, COPY_DST)]);
    return { name, result, place, slice };
  });
  const slices = Object.fromEntries(targets.map(({ name, slice }) => [name, slice]));
  if (targets.some(({ slice }) => slice.byteLength > 0)) record(recorder, call as never, slices as never);
  for (const [from, to] of copies) recorder.copy(from, to);
  return targets;
}

/** A tensor that takes over memory held by a recorder. */
export function claim<D extends DType>(pool: BufferPool, recorder: Recorder, slice: Slice, shape: readonly number[], dtype: D): ResidentTensor<D> {
  const { buffer } = recorder.locate(slice);
  pool.retain(buffer);
  return new ResidentTensor(pool, buffer, shape, dtype);
}

/** The tensors of results that stay on the GPU, by name. They can be used before their numbers are there. */
export function standing(pool: BufferPool, recorder: Recorder, targets: readonly Target[]): Record<string, ResultTensor> {
  const staying = targets.filter(({ place }) => place === "gpu");
  return Object.fromEntries(staying.map(({ name, result, slice }) => [name, result.out?.tensor ?? claim(pool, recorder, slice, result.shape, "f32")]));
}

/** Turns the bytes read back into a result in CPU memory. */
export function deliver({ shape, out }: Result, { buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): ResultTensor {
  const data = new Float32Array(buffer, byteOffset, byteLength / 4);
  if (out === undefined) return { data: data.slice(), shape, dtype: "f32" };
  copyStrided(data, 0, out.data.view() as Float32Array, 0, copyDimsOf(shape, contiguousStrides(shape), out.strides));
  return out.tensor;
}
