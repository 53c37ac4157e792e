import { log, log1p } from "../math/log";
import { BLOCK, blockShift } from "../rows/block";
import { onlineExp, onlineMax, onlineScale, onlineSum } from "../rows/online";
import { reduceSum64 } from "../simd/reduce";
import { loadUpTo16 } from "../simd/tail";
import { absorbBlocks, rowMax, rowSum, sumOfOthers } from "../sampling/survey";

/**
 * Cross-entropy of `rows` rows of `cols` f32 with a target (i32) each: log Σ exp(x) − x[target], of which a share of `smoothing` is for the
 * mean of all x instead of x[target]. A negative target gives 0. Writes an f32 per row to `losses`; and if `grad` is not 0, `weight` times the
 * derivative, softmax − smoothed target, as a row of f32, zeros for a negative target. Strides are in bytes; `grad` may be `x`. `scratch`: a
 * block (4096 bytes), then 8 bytes per block.
 */
export function cross_entropy_f32(
  x: usize, rows: usize, cols: usize, xStride: usize, targets: usize, losses: usize, grad: usize, scratch: usize, gradStride: usize,
  weight: f64, smoothing: f64,
): void {
  const bytes = cols << 2;
  const tile = scratch, blocks = tile + BLOCK;
  for (; rows > 0; rows--, x += xStride, targets += 4, losses += 4, grad += gradStride) {
    const target = load<i32>(targets);
    if (target < 0) {
      store<f32>(losses, 0);
      if (grad) memory.fill(grad, 0, bytes);
      continue;
    }
    // All that is read of x after the gradient has begun to replace it.
    const at = <usize>target << 2, begin = at & ~(BLOCK - 1), length = min(BLOCK, bytes - begin);
    const value = load<f32>(x + at);
    memory.copy(tile, x + begin, length);
    const mean = smoothing > 0 ? sumOf(x, bytes) / <f64>cols : 0;

    let max: f32, sum: f64;
    if (grad) {
      onlineExp(x, grad, bytes, blocks);
      max = onlineMax;
      sum = onlineSum;
    } else {
      absorbBlocks(x, bytes, 1, blocks, 0);
      max = rowMax;
      sum = rowSum;
    }
    if (max == Infinity) sum = NaN;
    const others = value == max ? sumOfOthers(sum, tile, length, at - begin, max, 1, 0) : 0;
    const lse = value == max ? log1p(others) : log(sum);
    const loss = <f64>max - <f64>value + lse;
    store<f32>(losses, <f32>(smoothing > 0 ? (1.0 - smoothing) * loss + smoothing * (<f64>max - mean + lse) : loss));
    if (!grad) continue;

    const even = smoothing / <f64>cols;
    onlineScale(grad, bytes, blocks, <f32>(weight / sum));
    // Where the target dominates, its softmax − 1 is what the others have.
    const share = value == max ? -others / (1.0 + others) : <f64>load<f32>(grad + at) / weight - 1.0;
    if (even > 0) blockShift(grad, grad, bytes, 0, <f32>(weight * even));
    store<f32>(grad + at, <f32>(weight * (share + smoothing - even)));
  }
}

/** Σ x in f64: logits may be as large as f32 goes, and their mean has digits that f32 would lose. */
function sumOf(x: usize, bytes: usize): f64 {
  let low = f64x2.splat(0), high = low;
  const zero = f32x4.splat(0);
  for (let i: usize = 0; i < bytes; i += 16) {
    const v = loadUpTo16(x + i, bytes - i, zero);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, f64x2.promote_low_f32x4(i32x4.shuffle(v, v, 2, 3, 0, 1)));
  }
  return reduceSum64(f64x2.add(low, high));
}
