// The two passes of an online softmax over a row of any length. The first goes block by block: the loop that computes a block's exponentials
// relative to the running max also takes the max of the next block. So each element is fetched once and nothing waits for memory. The
// second scales each block from the max it was written with, which is in a slot of 4 bytes, to the row's.
import { expScalar } from "../math/exp";
import { FLOOR } from "../simd/constants";
import { BLOCK, blockExpNext, blockMax, blockScale, nextMax } from "./block";

/** The row's max, and Σ exp(x − max), as `onlineExp` leaves them. */
export let onlineMax: f32 = FLOOR;
export let onlineSum: f64 = 0;

/** `y = exp(x − max)` over a block, and the max of the next, as `blockExpNext`; a function of its own, as several kernels of a binary call it. */
export function blockExpOnce(x: usize, y: usize, bytes: usize, max: f32, next: usize): f32 {
  return blockExpNext(x, y, bytes, max, next);
}

/** First pass: `y = exp(x − running max)`, with a slot for each block. */
export function onlineExp(x: usize, y: usize, bytes: usize, slots: usize): void {
  let m = blockMax(x, min(BLOCK, bytes));
  let sum: f64 = 0;
  for (let b: usize = 0; b < bytes; b += BLOCK, slots += 4) {
    const n = min(BLOCK, bytes - b);
    // The last blocks have no next block of their own length. They pass themselves, and the max is not used.
    const full = b + 2 * BLOCK <= bytes;
    store<f32>(slots, m);
    sum += <f64>blockExpOnce(x + b, y + b, n, m, full ? x + b + BLOCK : x + b);
    if (b + n < bytes) {
      const coming = full ? nextMax : blockMax(x + b + BLOCK, bytes - b - BLOCK);
      if (coming > m) {
        sum *= <f64>expScalar(m - coming);
        m = coming;
      }
    }
  }
  onlineMax = m;
  onlineSum = sum;
}

/** Second pass: multiplies by exp(the block's max − the row's) · factor. */
export function onlineScale(y: usize, bytes: usize, slots: usize, factor: f32): void {
  for (let b: usize = 0; b < bytes; b += BLOCK, slots += 4) {
    blockScale(y + b, min(BLOCK, bytes - b), factor * expScalar(load<f32>(slots) - onlineMax));
  }
}
