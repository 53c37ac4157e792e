// What one read of a row tells: the max of every block, as keys (value, number of the block), and where exponentials are wanted, the
// row's online state. The maxima decide which blocks are looked at again.
import { expBounded64 } from "../math/exp64";
import { BLOCK, blockExpSumNext, blockHasNaN, blockMax, nextMax } from "../rows/block";
import { FLOOR, INF, constant } from "../simd/constants";
import { loadUpTo16, storeUpTo16 } from "../simd/tail";
import { KEY, keyOf } from "./key";

/** Number of blocks in a row of `bytes`. */
@inline export function blocksOf(bytes: usize): usize {
  return (bytes + BLOCK - 1) / BLOCK;
}

/** eˣ for x ≤ 709. */
@inline export function exp64(x: f64): f64 {
  return f64x2.extract_lane(expBounded64(f64x2.splat(x)), 0);
}

/** `y = (x − max) · scale` over `bytes`. */
export function blockScaleFrom(x: usize, y: usize, bytes: usize, max: f32, scale: f32): void {
  const m = f32x4.splat(max), s = f32x4.splat(scale);
  const end = x + bytes;
  for (const main = x + (bytes & ~63); x < main; x += 64, y += 64) {
    v128.store(y, f32x4.mul(f32x4.sub(v128.load(x), m), s));
    v128.store(y, f32x4.mul(f32x4.sub(v128.load(x, 16), m), s), 16);
    v128.store(y, f32x4.mul(f32x4.sub(v128.load(x, 32), m), s), 32);
    v128.store(y, f32x4.mul(f32x4.sub(v128.load(x, 48), m), s), 48);
  }
  for (; x < end; x += 16, y += 16) storeUpTo16(y, end - x, f32x4.mul(f32x4.sub(loadUpTo16(x, end - x, m), m), s));
}

/** The least element of the row that `blockMaxima` has looked at, NaN aside. */
export let rowMin: f32 = 0;

/** Folds a block into rowMin, and tells whether its sum is NaN: if not, no element is. Infinities, or an overflow, may make it NaN too. */
function sumIsNaN(x: usize, bytes: usize): bool {
  const infinity = constant(INF);
  let least = infinity, sum = f32x4.splat(0);
  const end = x + bytes;
  for (const main = x + (bytes & ~31); x < main; x += 32) {
    const a = v128.load(x), b = v128.load(x, 16);
    sum = f32x4.add(sum, f32x4.add(a, b));
    least = f32x4.pmin(least, f32x4.pmin(a, b));
  }
  const zero = f32x4.splat(0);
  for (; x < end; x += 16) {
    sum = f32x4.add(sum, loadUpTo16(x, end - x, zero));
    least = f32x4.pmin(least, loadUpTo16(x, end - x, infinity));
  }
  least = f32x4.pmin(least, i32x4.shuffle(least, least, 2, 3, 0, 1));
  rowMin = min(rowMin, min(f32x4.extract_lane(least, 0), f32x4.extract_lane(least, 1)));
  return v128.any_true(f32x4.ne(sum, sum));
}

/** The maxima of a row's blocks. The block is in the first-level cache when it is looked at for NaN. */
export function blockMaxima(x: usize, bytes: usize, maxima: usize): void {
  rowMin = Infinity;
  for (let b: usize = 0, i: usize = 0; b < bytes; b += BLOCK, i++) {
    const n = min(BLOCK, bytes - b);
    const max = blockMax(x + b, n);
    store<u64>(maxima + i * KEY, keyOf(sumIsNaN(x + b, n) && blockHasNaN(x + b, n) ? NaN : max, i));
  }
}

/** The row's max, and Σ exp((x − max) · scale), as `absorbBlocks` leaves them. */
export let rowMax: f32 = FLOOR;
export let rowSum: f64 = 0;

/** Like `absorb` of a row state from the start, for a positive scale, with the maxima of all blocks. `tile` is scratch of one block. */
export function absorbBlocks(x: usize, bytes: usize, scale: f32, maxima: usize, tile: usize): void {
  let m = FLOOR;
  let l: f64 = 0;
  let coming = blockMax(x, min(BLOCK, bytes));
  for (let b: usize = 0, i: usize = 0; b < bytes; b += BLOCK, i++) {
    const n = min(BLOCK, bytes - b);
    if (coming > m) {
      l *= exp64((<f64>m - <f64>coming) * <f64>scale);
      m = coming;
    }
    const whole = b + 2 * BLOCK <= bytes;
    const sum = <f64>blockSum(x + b, n, m, scale, tile, whole ? x + b + BLOCK : x + b);
    store<u64>(maxima + i * KEY, keyOf(sum != sum && blockHasNaN(x + b, n) ? NaN : coming, i));
    l += sum;
    if (whole) coming = nextMax;
    else if (b + n < bytes) coming = blockMax(x + b + BLOCK, bytes - b - BLOCK);
  }
  rowMax = m;
  rowSum = l;
}

/** Σ exp((x − max) · scale) over a block; as `blockExpSumNext` otherwise. */
function blockSum(x: usize, bytes: usize, max: f32, scale: f32, tile: usize, next: usize): f32 {
  if (scale == 1) return blockExpSumNext(x, bytes, max, next);
  blockScaleFrom(x, tile, bytes, max, scale);
  return blockExpSumNext(tile, bytes, 0, next);
}

/**
 * A row's sum of exponentials without the largest element, which counts 1: it lies `at` bytes into a block, and the sum includes the block as
 * `absorb` and its kin add it. Where that element dominates, a sum in f32 has rounded the others away; so its block is summed again on both
 * sides of it.
 */
export function sumOfOthers(sum: f64, block: usize, bytes: usize, at: usize, max: f32, scale: f32, tile: usize): f64 {
  const whole = blockSum(block, bytes, max, scale, tile, block);
  const before = blockSum(block, at, max, scale, tile, block);
  const after = blockSum(block + at + 4, bytes - at - 4, max, scale, tile, block);
  const others = sum - <f64>whole + <f64>before + <f64>after;
  return others < 0 ? 0 : others;
}
