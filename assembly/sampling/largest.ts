import { BLOCK } from "../rows/block";
import { FLOOR } from "../simd/constants";
import { heapify, sink, sortDescending } from "./heap";
import { KEY, indexOf, keyOf, valueOf } from "./key";

/** The keys collected so far: a heap once there are as many as wanted. */
let heap: usize = 0;
let wanted: usize = 0;
let count: usize = 0;
/** No element below it can be among the largest. */
let bar: f32 = 0;

/**
 * Puts the keys of the `k` ≤ cols largest elements of a row at `keys`, largest first. `maxima` has the keys of the maxima of all `blocks`
 * blocks, and loses their order. k blocks have k elements that are at least the k-th largest max: only blocks that reach it are looked at,
 * and the most promising first, so that the bar rises early.
 */
export function largest(x: usize, cols: usize, k: usize, maxima: usize, blocks: usize, keys: usize): void {
  sortDescending(maxima, blocks);
  heap = keys;
  wanted = k;
  count = 0;
  const kth = blocks < k ? FLOOR : valueOf(load<u64>(maxima + (k - 1) * KEY));
  // A block of −inf has FLOOR as its max, and with NaN nothing is excluded.
  bar = kth > FLOOR ? kth : -Infinity;
  for (let i: usize = 0; i < blocks; i++) {
    const block = load<u64>(maxima + i * KEY);
    const from = indexOf(block) * (BLOCK >> 2);
    if (count == wanted && keyOf(valueOf(block), from) < load<u64>(heap)) break;
    collect(x, from, min(from + (BLOCK >> 2), cols));
  }
  sortDescending(keys, k);
}

/** Offers the elements `from` … `to`, 16 at a time if none of them reaches the bar. */
function collect(x: usize, from: usize, to: usize): void {
  let i = from;
  while (i + 16 <= to) {
    const p = x + (i << 2), b = f32x4.splat(bar);
    const low = v128.and(
      v128.and(f32x4.lt(v128.load(p), b), f32x4.lt(v128.load(p, 16), b)),
      v128.and(f32x4.lt(v128.load(p, 32), b), f32x4.lt(v128.load(p, 48), b)),
    );
    if (v128.all_true<i32>(low)) i += 16;
    else for (const end = i + 16; i < end; i++) offer(load<f32>(x + (i << 2)), i);
  }
  for (; i < to; i++) offer(load<f32>(x + (i << 2)), i);
}

@inline function offer(value: f32, index: usize): void {
  if (value < bar) return;
  const key = keyOf(value, index);
  if (count < wanted) {
    store<u64>(heap + count++ * KEY, key);
    if (count < wanted) return;
    heapify(heap, count);
  } else {
    if (key < load<u64>(heap)) return;
    store<u64>(heap, key);
    sink(heap, count, 0);
  }
  bar = valueOf(load<u64>(heap));
}
