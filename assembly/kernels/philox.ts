import { philox } from "../math/philox";

/** Replaces the counter of four u32 at `words` with four random ones. */
export function philox_u32(words: usize, key0: u32, key1: u32): void {
  philox(words, key0, key1);
}
