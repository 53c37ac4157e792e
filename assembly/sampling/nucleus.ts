// top-p over elements too many to sort: a histogram of weights by max − x, then another of the bucket at the border, until what is left is
// one value or short enough to sort.
import { FLOOR } from "../simd/constants";
import { loadUpTo16 } from "../simd/tail";
import { sortDescending } from "./heap";
import { KEY, indexOf, keyOf } from "./key";

/** Buckets of a histogram. Each has a sum (f64) for every lane: equal neighbours would wait for each other's. */
const BUCKETS: usize = 512;
const BUCKET: usize = 32;
/** Bytes of a histogram: rounding to the nearest bucket makes one more. */
export const HISTOGRAM: usize = (BUCKETS + 1) * BUCKET;
/** Adding 2²³ to a smaller number rounds it and leaves the integer in the low bits. */
const ROUNDING: f32 = 8388608;
/** A range with no more elements than this is sorted. */
export const MOST_SORTED: usize = 1024;
/** Beyond this distance from the max weights are 0: −EXP_MIN. */
const REACH: f64 = 87.34;

/** The bucket of each lane, in the low bits of a float. Monotone in v, as all roundings are; what is out of range is in the first or last. */
@inline function bucketOf(v: v128, high: v128, factor: v128): v128 {
  // A range of denormals makes the factor infinite: the NaN of 0 · ∞ becomes 0 in this order.
  const distance = f32x4.pmax(f32x4.splat(0), f32x4.mul(f32x4.sub(high, v), factor));
  return f32x4.add(f32x4.pmin(distance, f32x4.splat(<f32>BUCKETS)), f32x4.splat(ROUNDING));
}

@inline function addTo(at: usize, weight: f64): void {
  store<f64>(at, load<f64>(at) + weight);
}

/** The histogram of the elements from `low` to `high`. */
function fill(x: usize, weights: usize, bytes: usize, low: f32, high: f32, factor: f32, histogram: usize): void {
  memory.fill(histogram, 0, HISTOGRAM);
  const l = f32x4.splat(low), h = f32x4.splat(high), f = f32x4.splat(factor);
  const base = i32x4.splat(<i32>histogram - (reinterpret<i32>(ROUNDING) << 5));
  for (let i: usize = 0; i < bytes; i += 16) {
    const v = loadUpTo16(x + i, bytes - i, l);
    const inside = v128.and(f32x4.ge(v, l), f32x4.le(v, h));
    if (!v128.any_true(inside)) continue;
    const weight = v128.and(v128.load(weights + i), inside);
    const a = f64x2.promote_low_f32x4(weight), b = f64x2.promote_low_f32x4(i32x4.shuffle(weight, weight, 2, 3, 0, 1));
    // BUCKET is 2⁵, and the shift drops the bits of ROUNDING that would not fit: the rest of them is subtracted from the base.
    const at = i32x4.add(i32x4.shl(bucketOf(v, h, f), 5), base);
    addTo(<usize>i32x4.extract_lane(at, 0), f64x2.extract_lane(a, 0));
    addTo(<usize>i32x4.extract_lane(at, 1) + 8, f64x2.extract_lane(a, 1));
    addTo(<usize>i32x4.extract_lane(at, 2) + 16, f64x2.extract_lane(b, 0));
    addTo(<usize>i32x4.extract_lane(at, 3) + 24, f64x2.extract_lane(b, 1));
  }
}

/** What `collect` found: how many elements, the least and the greatest of them. */
let count: usize = 0;
let least: f32 = 0;
let greatest: f32 = 0;

/** Puts the keys of the elements of a bucket at `keys`, as long as there is room. */
function collect(bucket: usize, x: usize, bytes: usize, low: f32, high: f32, factor: f32, keys: usize): void {
  const l = f32x4.splat(low), h = f32x4.splat(high), f = f32x4.splat(factor), j = f32x4.splat(<f32>bucket + ROUNDING);
  const padding = f32x4.splat(-Infinity);
  count = 0;
  least = Infinity;
  greatest = -Infinity;
  for (let i: usize = 0; i < bytes; i += 16) {
    const v = loadUpTo16(x + i, bytes - i, padding);
    const inside = v128.and(f32x4.ge(v, l), f32x4.le(v, h));
    for (let chosen = i32x4.bitmask(v128.and(inside, f32x4.eq(bucketOf(v, h, f), j))); chosen; chosen &= chosen - 1) {
      const index = (i >> 2) + ctz(chosen);
      const value = load<f32>(x + (index << 2));
      if (count < MOST_SORTED) store<u64>(keys + count * KEY, keyOf(value, index));
      count++;
      least = min(least, value);
      greatest = max(greatest, value);
    }
  }
}

/**
 * The key of the last element of the smallest set, greatest keys first, whose weights sum to at least `goal`; 0 if all together do not.
 * `lowest` and `highest` are the row's, and `keys` has room for MOST_SORTED keys.
 */
export function nucleusBorder(
  x: usize, weights: usize, bytes: usize, lowest: f32, highest: f32, scale: f32, goal: f64, histogram: usize, keys: usize,
): u64 {
  // −inf weighs nothing, and would make the range infinite.
  let low = max(max(lowest, FLOOR), <f32>(<f64>highest - REACH / <f64>scale)), high = highest;
  let above: f64 = 0;
  while (low < high) {
    const factor = <f32>(<f64>BUCKETS / (<f64>high - <f64>low));
    fill(x, weights, bytes, low, high, factor, histogram);
    let bucket: usize = 0;
    for (; bucket <= BUCKETS; bucket++) {
      const at = histogram + bucket * BUCKET;
      const sum = load<f64>(at) + load<f64>(at, 8) + load<f64>(at, 16) + load<f64>(at, 24);
      if (above + sum >= goal) break;
      above += sum;
    }
    if (bucket > BUCKETS) return 0;
    collect(bucket, x, bytes, low, high, factor, keys);
    if (count <= MOST_SORTED) return borderOfFew(weights, above, goal, keys);
    low = least;
    high = greatest;
  }
  return borderOfEqual(x, weights, bytes, high, above, goal);
}

/** Sorts what has been collected. What rounding leaves over goes to the last. */
function borderOfFew(weights: usize, above: f64, goal: f64, keys: usize): u64 {
  sortDescending(keys, count);
  let key: u64 = 0;
  for (let i: usize = 0; i < count && above < goal; i++) {
    key = load<u64>(keys + i * KEY);
    above += <f64>load<f32>(weights + (indexOf(key) << 2));
  }
  return key;
}

/** The same for elements that are all equal: so many of them, in the order of their indices. */
function borderOfEqual(x: usize, weights: usize, bytes: usize, value: f32, above: f64, goal: f64): u64 {
  const equal = f32x4.splat(value), padding = f32x4.splat(-Infinity);
  let left: f64 = 0;
  let last: u64 = 0;
  for (let i: usize = 0; i < bytes; i += 16) {
    let chosen = i32x4.bitmask(f32x4.eq(loadUpTo16(x + i, bytes - i, padding), equal));
    if (!chosen) continue;
    // They all weigh the same as the first of them.
    if (last == 0) left = ceil((goal - above) / <f64>load<f32>(weights + i + (ctz(chosen) << 2)));
    const found = <f64>popcnt(chosen);
    if (found < left) {
      left -= found;
      last = keyOf(value, (i >> 2) + 3);
      continue;
    }
    for (; left > 1; left--) chosen &= chosen - 1;
    return keyOf(value, (i >> 2) + ctz(chosen));
  }
  return last;
}
