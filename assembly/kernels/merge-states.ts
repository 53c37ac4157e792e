import { expBounded64 } from "../math/exp64";
import { log1p } from "../math/log";

/** A weighted value. A state of weight 0 contributes nothing, whatever its output holds. */
@inline function weighted(weight: f64, at: usize): f64 {
  return weight == 0 ? 0 : weight * <f64>load<f32>(at);
}

/**
 * Merges `rows` partial results (output row of `dim` f32, log-sum-exp) into others, `total`. With m = max(a, b) of the log-sum-exps, the
 * weights are exp(a − m) and exp(b − m), one of which is 1. Computed in f64 and rounded to f32, without a multiply-add across the two sides: two states give
 * the same bits in either order. With `first` the total starts empty, as 0 and −inf. Strides are in bytes.
 */
export function merge_states_f32(
  total: usize, totalStride: usize, totalLse: usize, totalLseStride: usize,
  part: usize, partStride: usize, partLse: usize, partLseStride: usize, rows: usize, dim: usize, first: bool,
): void {
  for (; rows > 0; rows--, total += totalStride, totalLse += totalLseStride, part += partStride, partLse += partLseStride) {
    const a: f64 = first ? -Infinity : <f64>load<f32>(totalLse), b = <f64>load<f32>(partLse);
    const m = max(a, b);
    if (m == -Infinity) {
      if (first) {
        store<f32>(totalLse, -Infinity);
        memory.fill(total, 0, dim << 2);
      }
      continue;
    }
    const weights = expBounded64(f64x2.sub(f64x2.replace_lane(f64x2.splat(a), 1, b), f64x2.splat(m)));
    const wa = f64x2.extract_lane(weights, 0), wb = f64x2.extract_lane(weights, 1);
    const sum = wa + wb;
    store<f32>(totalLse, <f32>(m + log1p(min(wa, wb))));
    for (let i: usize = 0; i < dim << 2; i += 4) {
      const left: f64 = first ? 0 : weighted(wa, total + i);
      store<f32>(total + i, <f32>((left + weighted(wb, part + i)) / sum));
    }
  }
}
