import { log1p } from "../math/log";
import { BLOCK } from "../rows/block";
import { KEY, indexOf } from "../sampling/key";
import { largest } from "../sampling/largest";
import { absorbBlocks, blocksOf, rowMax, rowSum, sumOfOthers } from "../sampling/survey";

/**
 * As `top_k_f32`, but instead of the values their log-softmax over the whole row of x · scale, scale > 0: (x − max) · scale − log Σ. NaN
 * where log-softmax is NaN: in rows with NaN or +inf, or of −inf. `scratch` holds what `top_k_f32` wants, and a block (4096 bytes).
 */
export function top_k_softmax_f32(
  x: usize, rows: usize, cols: usize, xStride: usize, k: usize, logProbs: usize, indices: usize, scratch: usize, scale: f32,
): void {
  const bytes = cols << 2;
  const tile = scratch, keys = tile + BLOCK, maxima = keys + k * KEY;
  for (; rows > 0; rows--, x += xStride) {
    absorbBlocks(x, bytes, scale, maxima, tile);
    largest(x, cols, k, maxima, blocksOf(bytes), keys);
    const top = indexOf(load<u64>(keys)) << 2, block = top & ~(BLOCK - 1);
    const others = sumOfOthers(rowSum, x + block, min(BLOCK, bytes - block), top - block, rowMax, scale, tile);
    const log = rowSum > 0 && rowMax != Infinity ? log1p(others) : NaN;
    for (let i: usize = 0; i < k; i++, logProbs += 4, indices += 4) {
      const index = indexOf(load<u64>(keys + i * KEY));
      store<f32>(logProbs, <f32>((<f64>load<f32>(x + (index << 2)) - <f64>rowMax) * <f64>scale - log));
      store<i32>(indices, <i32>index);
    }
  }
}
