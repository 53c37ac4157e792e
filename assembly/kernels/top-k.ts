import { KEY, indexOf } from "../sampling/key";
import { largest } from "../sampling/largest";
import { blockMaxima, blocksOf } from "../sampling/survey";

/**
 * The `k` ≤ cols largest elements of `rows` rows of `cols` f32, largest first, equal ones by index; NaN is the largest. Writes k f32 and
 * k i32 per row, without gaps, to `values` and `indices`. `xStride` is in bytes. `scratch` holds a key (8 bytes) for each of the k, and one
 * for each block of 1024 elements.
 */
export function top_k_f32(x: usize, rows: usize, cols: usize, xStride: usize, k: usize, values: usize, indices: usize, scratch: usize): void {
  const maxima = scratch + k * KEY;
  for (; rows > 0; rows--, x += xStride) {
    blockMaxima(x, cols << 2, maxima);
    largest(x, cols, k, maxima, blocksOf(cols << 2), scratch);
    for (let i: usize = 0; i < k; i++, values += 4, indices += 4) {
      const index = indexOf(load<u64>(scratch + i * KEY));
      store<f32>(values, load<f32>(x + (index << 2)));
      store<i32>(indices, <i32>index);
    }
  }
}
