import { ArrayHandle, BYTES } from "../../../tensor/array.ts";
import { copyDimsOf, copyStrided } from "../../../tensor/copy-strided.ts";
import { contiguousStrides, elementCount } from "../../../tensor/shape.ts";

/** Arrays that copy elements of 1, 2 or 4 bytes. The values do not matter, so no platform needs Float16Array. */
const MOVERS = { 1: Uint8Array, 2: Uint16Array, 4: Float32Array } as const;

/** A row-major copy of a view, without gaps. */
export function pack(data: ArrayHandle, shape: readonly number[], strides: readonly number[]): ArrayHandle {
  // The cast only picks a type; it may be any of the three.
  const Mover = MOVERS[BYTES[data.dtype] as 1];
  const { buffer, byteOffset, length } = data.view();
  const packed = new Mover(elementCount(shape));
  copyStrided(new Mover(buffer, byteOffset, length), 0, packed, 0, copyDimsOf(shape, strides, contiguousStrides(shape)));
  return ArrayHandle.of(packed, data.dtype);
}
