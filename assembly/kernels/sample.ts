import { log } from "../math/log";
import { uniform } from "../math/philox";
import { candidateLogProb, cut, drawCandidate, sumOf } from "../sampling/candidates";
import { KEY, NEXT_VALUE, keyOf, valueOf } from "../sampling/key";
import { largest } from "../sampling/largest";
import { HISTOGRAM, MOST_SORTED, nucleusBorder } from "../sampling/nucleus";
import { blockMaxima, blocksOf, rowMin } from "../sampling/survey";
import { SUM, drawWeighted, drawnLogProb, keepFrom, weigh } from "../sampling/weights";

/** Without top-k this many candidates are tried first: they hold most nuclei of language models. */
const TRIED: usize = 64;
/** What stands for the token of a row that cannot be sampled. */
const HAS_NAN = -1;
const HAS_INFINITY = -2;
const HAS_NOTHING = -3;

/**
 * Draws one element of each of `rows` rows of `cols` f32. Of a row, top-k leaves the `k` largest (0: all), top-p the smallest set of these
 * that has `topP` of their probability (Infinity: all), min-p those that have `minP` of the largest (0: all); probabilities are those of
 * x · filterScale. The draw is from exp(x · drawScale) over the rest: the first by index whose cumulated share exceeds a uniform number made
 * of `seed`, `step` and the row's number, which starts at `row`. Writes an i32 and the logarithm of its probability (f32) per row. A row
 * with NaN, with +inf, or of −inf alone gets −1, −2 or −3 for a token.
 *
 * `scratch`: without k the row's weights (f32, and 16 to 31 bytes more: a multiple of 16); 16 bytes; max(k, MOST_SORTED) keys and one per
 * block of 1024 elements (8 bytes each); and without k a sum per block (f64) and HISTOGRAM bytes.
 */
export function sample_f32(
  x: usize, rows: usize, cols: usize, xStride: usize, row: u32, tokens: usize, logProbs: usize, scratch: usize,
  filterScale: f64, drawScale: f64, k: usize, topP: f64, minP: f64, seed: f64, step: f64,
): void {
  const bytes = cols << 2, blocks = blocksOf(bytes);
  const weights = scratch, words = scratch + (k > 0 ? 0 : (bytes + 31) & ~15);
  const keys = words + 16, maxima = keys + max(k, MOST_SORTED) * KEY, sums = maxima + blocks * KEY, histogram = sums + blocks * SUM;
  const filtered = topP != Infinity || minP > 0;
  const count = k > 0 ? k : filtered ? min(TRIED, cols) : 1;
  for (; rows > 0; rows--, x += xStride, row++, tokens += 4, logProbs += 4) {
    blockMaxima(x, bytes, maxima);
    largest(x, cols, count, maxima, blocks, keys);
    const top = valueOf(load<u64>(keys));
    if (!(abs(top) < Infinity)) {
      store<i32>(tokens, top != top ? HAS_NAN : top > 0 ? HAS_INFINITY : HAS_NOTHING);
      continue;
    }
    const u = uniform(<u64>seed, <u64>step, row, words);
    const total = k > 0 ? sumOf(keys, k, <f64>top, filterScale) : weigh(x, bytes, top, <f32>filterScale, weights, sums);
    const kept = cut(keys, count, <f64>top, filterScale, topP * total, minP);
    if (k > 0 || count == cols || (filtered && kept < count)) {
      store<i32>(tokens, <i32>drawCandidate(keys, kept, <f64>top, drawScale, u));
      store<f32>(logProbs, <f32>candidateLogProb);
      continue;
    }
    const border = topP == Infinity ? 0 : nucleusBorder(x, weights, bytes, rowMin, top, <f32>filterScale, topP * total, histogram, keys);
    const least = max(border, minP > 0 ? leastKey(<f64>top + log(minP) / filterScale, cols) : 0);
    if (drawScale != filterScale) weigh(x, bytes, top, <f32>drawScale, weights, sums);
    if (least > 0) keepFrom(x, bytes, least, weights, sums);
    store<i32>(tokens, <i32>drawWeighted(x, bytes, top, drawScale, u, weights, sums));
    store<f32>(logProbs, <f32>drawnLogProb);
  }
}

/** The smallest key in a row of a value of at least `bound`. */
function leastKey(bound: f64, cols: usize): u64 {
  const key = keyOf(<f32>bound, cols - 1);
  return <f64><f32>bound < bound ? key + NEXT_VALUE : key;
}
