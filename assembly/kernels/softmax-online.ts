import { expScalar } from "../math/exp";
import { BLOCK, blockExpNext, blockMax, blockScale, nextMax, reciprocal } from "../rows/block";

/**
 * Online softmax for `rows` rows of `cols` f32: one fused pass, then normalize.
 *
 * The pass goes block by block. The loop that computes a block's exponentials relative to the running max also takes the max of the
 * next block (of this row or the next). So each element is fetched once and nothing waits for memory. `scratch` stores the max each
 * block was written with (4 bytes per block); the normalize pass multiplies the block by exp(that max − the row's max) / sum.
 * Strides are in bytes; `y` may be `x`.
 */
export function softmax_online_f32(x: usize, y: usize, rows: usize, cols: usize, xStride: usize, yStride: usize, scratch: usize, safe: bool): void {
  const bytes = cols << 2;
  if (!rows || !cols) return;
  if (bytes > BLOCK) {
    for (; rows > 0; rows--, x += xStride, y += yStride) longRow(x, y, bytes, scratch, safe);
    return;
  }
  // Rows of one block: 15% faster without the bookkeeping for several.
  let m = blockMax(x, bytes);
  for (; rows > 0; rows--, x += xStride, y += yStride) {
    const sum = blockExpNext(x, y, bytes, m, rows > 1 ? x + xStride : x);
    m = nextMax;
    blockScale(y, bytes, safe && sum == 0 ? 0 : <f32>1.0 / sum);
  }
}

/** A row of several blocks. */
function longRow(x: usize, y: usize, bytes: usize, scratch: usize, safe: bool): void {
  let m = blockMax(x, BLOCK);
  let sum: f64 = 0;
  let slot = scratch;
  for (let b: usize = 0; b < bytes; b += BLOCK, slot += 4) {
    const n = min(BLOCK, bytes - b);
    // The last blocks have no next block of their own length. They pass themselves, and the max is not used.
    const full = b + 2 * BLOCK <= bytes;
    store<f32>(slot, m);
    sum += <f64>blockExpNext(x + b, y + b, n, m, full ? x + b + BLOCK : x + b);
    if (b + n < bytes) {
      const coming = full ? nextMax : blockMax(x + b + BLOCK, bytes - b - BLOCK);
      if (coming > m) {
        sum *= <f64>expScalar(m - coming);
        m = coming;
      }
    }
  }
  const factor = reciprocal(sum, safe);
  slot = scratch;
  for (let b: usize = 0; b < bytes; b += BLOCK, slot += 4) {
    blockScale(y + b, min(BLOCK, bytes - b), factor * expScalar(load<f32>(slot) - m));
  }
}
