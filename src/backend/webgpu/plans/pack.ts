import { copyStrided } from "../../../tensor/copy-strided.ts";
import { contiguousStrides, elementCount } from "../../../tensor/shape.ts";

/** Numbers that a GPU can hold, or bytes. */
export interface Packable extends ArrayBufferView {
  readonly length: number;
  readonly BYTES_PER_ELEMENT: number;
}

/** What moves numbers of so many bytes. What the numbers are does not matter, so that no platform has to know Float16Array. */
const MOVERS = { 1: Uint8Array, 2: Uint16Array, 4: Float32Array } as const;

/** A copy without gaps, row-major, of what a view shows. */
export function pack(data: Packable, shape: readonly number[], strides: readonly number[]): Packable {
  // The type is that of any of them.
  const Mover = MOVERS[data.BYTES_PER_ELEMENT as 1];
  const packed = new Mover(elementCount(shape));
  copyStrided(shape, new Mover(data.buffer, data.byteOffset, data.length), strides, packed, contiguousStrides(shape));
  return packed;
}
