import { expBounded64 } from "../math/exp64";

/** From here on exp(sink − lse) overflows f64. The share of everything else is 0 in f32 anyway. */
const LARGEST: f64 = 709;

/**
 * Reduces each of `rows` rows of probabilities (f32, in place) to the share that a sink leaves it: exp(lse) / (exp(lse) + exp(sink)). The rows'
 * log-sum-exps are at `lse`, one f32 after the other. A row whose log-sum-exp is −inf becomes 0. `stride` is in bytes.
 */
export function sink_share_f32(x: usize, rows: usize, cols: usize, stride: usize, lse: usize, sink: f32): void {
  for (; rows > 0; rows--, x += stride, lse += 4) {
    const above = <f64>sink - <f64>load<f32>(lse);
    const share = above > LARGEST ? 0 : 1 / (1 + f64x2.extract_lane(expBounded64(f64x2.splat(above)), 0));
    for (let j: usize = 0; j < cols; j++) store<f32>(x + (j << 2), <f32>(<f64>load<f32>(x + (j << 2)) * share));
  }
}
