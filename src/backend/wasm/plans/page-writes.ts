import type { HeadOperand } from "../../../calls/attention-call.ts";
import { TILE_KEYS } from "../../../calls/blocks.ts";
import { BYTES } from "../../../tensor/array.ts";
import type { Segment } from "../module/paged-keys.ts";
import { ROWS } from "../module/rows-family.ts";
import type { Runtime } from "../module/runtime.ts";
import { copyIn } from "./copies.ts";

/** Writes a segment's keys, or values, of all heads into its page, converted to the page's storage. */
export function writeSegment(runtime: Runtime, from: HeadOperand, to: HeadOperand, { batch, token, count, page, key }: Segment, heads: number): void {
  const { dtype, byteOffset, scales } = to.data;
  const width = to.row;
  const at = batch * from.batch + token * from.row;
  const copy = (address: number, row: number, head: number): void => {
    const dims = [
      { size: width, from: from.dim, to: 1 },
      { size: count, from: from.row, to: row },
      { size: heads, from: from.head, to: head },
    ];
    copyIn(runtime, { array: from.data, at, address, dims, columns: 0 });
  };
  if (dtype === "f32") {
    copy(page + byteOffset + key * width * 4, width, to.head);
    return;
  }
  const { memory } = runtime;
  const kernels = runtime.load(ROWS);
  const mark = memory.mark();
  try {
    const scratch = memory.take(heads * count * width * 4);
    copy(scratch, width, count * width);
    for (let h = 0; h < heads; h++) {
      const row = h * TILE_KEYS + key;
      const [src, dst] = [scratch + h * count * width * 4, page + byteOffset + row * width * BYTES[dtype]];
      if (scales !== undefined) kernels.i8_from_f32(src, dst, count, width, page + scales.data.byteOffset + row * 4);
      else kernels[dtype === "f16" ? "f16_from_f32" : "bf16_from_f32"](src, dst, count * width);
    }
  } finally {
    memory.release(mark);
  }
}
