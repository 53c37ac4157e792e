import { expect, test } from "vitest";
import { philox } from "../reference/sampling.ts";
import { describeVariants } from "../support/variants.ts";

// The known answers of Random123 (kat_vectors, philox4x32 with 10 rounds): counter, key, result.
const VECTORS: readonly (readonly [counter: readonly number[], key: readonly number[], result: readonly number[]])[] = [
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

describeVariants("Philox4x32-10", ({ kernels, memory }) => {
  test.each(VECTORS)("of the counter %j with the key %j", (counter, key, result) => {
    const mark = memory.mark();
    const at = memory.take(16);
    memory.i32.set(counter, at / 4);
    kernels.philox_u32(at, key[0] ?? 0, key[1] ?? 0);
    expect([...memory.i32.subarray(at / 4, at / 4 + 4)].map((word) => word >>> 0)).toEqual(result);
    expect(philox(counter, key)).toEqual(result);
    memory.release(mark);
  });
});
