// The candidates of a row: the keys of its largest elements, largest first.
import { log1p } from "../math/log";
import { sortDescending } from "./heap";
import { KEY, indexOf, valueOf } from "./key";
import { exp64 } from "./survey";

@inline function weightOf(key: u64, max: f64, scale: f64): f64 {
  return exp64((<f64>valueOf(key) - max) * scale);
}

/** The sum of the weights of `count` candidates. */
export function sumOf(keys: usize, count: usize, max: f64, scale: f64): f64 {
  let sum: f64 = 0;
  for (let i: usize = 0; i < count; i++) sum += weightOf(load<u64>(keys + i * KEY), max, scale);
  return sum;
}

/** How many of `count` candidates top-p (a sum of weights) and min-p (a weight) leave, at least one. Both cut off the end. */
export function cut(keys: usize, count: usize, max: f64, scale: f64, topP: f64, minP: f64): usize {
  let sum: f64 = 0;
  for (let i: usize = 0; i < count; i++) {
    const weight = weightOf(load<u64>(keys + i * KEY), max, scale);
    if (i > 0 && (sum >= topP || weight < minP)) return i;
    sum += weight;
  }
  return count;
}

/** The logarithm of the drawn candidate's probability. */
export let candidateLogProb: f64 = 0;

/** Draws one of `count` candidates: the first in the order of indices whose cumulated weight exceeds u · Σ. */
export function drawCandidate(keys: usize, count: usize, max: f64, scale: f64, u: f64): usize {
  // The other half of a key first: the lowest index is the greatest.
  for (let i: usize = 0; i < count; i++) store<u64>(keys + i * KEY, rotl(load<u64>(keys + i * KEY), 32));
  sortDescending(keys, count);
  for (let i: usize = 0; i < count; i++) store<u64>(keys + i * KEY, rotl(load<u64>(keys + i * KEY), 32));
  const total = sumOf(keys, count, max, scale);
  const target = u * total;
  let drawn: u64 = 0;
  let sum: f64 = 0;
  for (let i: usize = 0; i < count && !(sum > target); i++) {
    const key = load<u64>(keys + i * KEY);
    const weight = weightOf(key, max, scale);
    sum += weight;
    if (weight > 0) drawn = key;
  }
  const others = total - 1.0;
  candidateLogProb = (<f64>valueOf(drawn) - max) * scale - log1p(others > 0 ? others : 0);
  return indexOf(drawn);
}
