// A row as weights exp((x − max) · scale) in scratch, with their sum for every block: what a draw from many elements works on.
import { log1p } from "../math/log";
import { BLOCK } from "../rows/block";
import { blockExpOnce } from "../rows/online";
import { loadUpTo16, storeUpTo16 } from "../simd/tail";
import { reduceSum } from "../simd/reduce";
import { NEXT_VALUE, indexOf, valueOf } from "./key";
import { blockScaleFrom } from "./survey";

/** Bytes of a block's sum (f64). */
export const SUM: usize = 8;

/** Weighs a row; the weights end with zeros up to a whole vector. Returns the sum. */
export function weigh(x: usize, bytes: usize, max: f32, scale: f32, weights: usize, sums: usize): f64 {
  v128.store(weights + (bytes & ~15), f32x4.splat(0));
  let total: f64 = 0;
  for (let b: usize = 0; b < bytes; b += BLOCK, sums += SUM) {
    const n = min(BLOCK, bytes - b);
    if (scale != 1) blockScaleFrom(x + b, weights + b, n, max, scale);
    const from = scale == 1 ? x + b : weights + b;
    const sum = <f64>blockExpOnce(from, weights + b, n, scale == 1 ? max : 0, from);
    store<f64>(sums, sum);
    total += sum;
  }
  return total;
}

/** Sets the weights of all elements below `least` to 0; returns the sum of the others. */
function removeBelow(x: usize, weights: usize, bytes: usize, least: f32): f32 {
  const bound = f32x4.splat(least);
  let sum = f32x4.splat(0);
  let i: usize = 0;
  for (; i + 16 <= bytes; i += 16) {
    const kept = v128.and(v128.load(weights + i), f32x4.ge(v128.load(x + i), bound));
    v128.store(weights + i, kept);
    sum = f32x4.add(sum, kept);
  }
  if (i < bytes) {
    const left = bytes - i;
    const kept = v128.and(loadUpTo16(weights + i, left, f32x4.splat(0)), f32x4.ge(loadUpTo16(x + i, left, bound), bound));
    storeUpTo16(weights + i, left, kept);
    sum = f32x4.add(sum, kept);
  }
  return reduceSum(sum);
}

/** Keeps the elements whose key is at least `least`, and sets the weights of the others to 0. */
export function keepFrom(x: usize, bytes: usize, least: u64, weights: usize, sums: usize): void {
  // Elements equal to the border are kept up to its index. Behind that, an element has to be greater: at least the next float.
  const border = valueOf(least), above = valueOf(least + NEXT_VALUE);
  const after = min((indexOf(least) + 1) << 2, bytes);
  for (let b: usize = 0; b < bytes; b += BLOCK, sums += SUM) {
    const end = min(b + BLOCK, bytes);
    const middle = min(max(after, b), end);
    const sum = <f64>removeBelow(x + b, weights + b, middle - b, border);
    store<f64>(sums, sum + <f64>removeBelow(x + middle, weights + middle, end - middle, above));
  }
}

/** The logarithm of the drawn element's probability. */
export let drawnLogProb: f64 = 0;

/**
 * The first element whose cumulated weight exceeds u · Σ, and the logarithm of its probability. Blocks are skipped by their sums; what the
 * rounding of those leaves over goes to the last element with a weight.
 */
export function drawWeighted(x: usize, bytes: usize, max: f32, scale: f64, u: f64, weights: usize, sums: usize): usize {
  let total: f64 = 0;
  let end: usize = 0;
  for (let b: usize = 0, s = sums; b < bytes; b += BLOCK, s += SUM) {
    const sum = load<f64>(s);
    total += sum;
    if (sum > 0) end = b;
  }
  const target = u * total;
  let before: f64 = 0;
  let block: usize = 0;
  for (; block < end; block += BLOCK) {
    const sum = load<f64>(sums + (block / BLOCK) * SUM);
    if (before + sum > target) break;
    before += sum;
  }
  let drawn: usize = 0;
  let found = false;
  let inBlock: f64 = 0;
  for (let i = block; i < min(block + BLOCK, bytes); i += 4) {
    const weight = <f64>load<f32>(weights + i);
    inBlock += weight;
    if (weight > 0 && !found) {
      drawn = i;
      found = before + inBlock > target;
    }
  }
  // With the block's own sum in f64: where the drawn element dominates, one in f32 has rounded the others away.
  const others = total - load<f64>(sums + (block / BLOCK) * SUM) + inBlock - 1.0;
  drawnLogProb = (<f64>load<f32>(x + drawn) - <f64>max) * scale - log1p(others > 0 ? others : 0);
  return drawn >> 2;
}
