import { exp } from "../math/exp";
import { expBounded64 } from "../math/exp64";
import { log } from "../math/log";

// The functions of math/ over arrays, so that tests can hold them to their documented error.

/** `y = eˣ` for `count` f32, a multiple of 4. */
export function exp_f32(x: usize, y: usize, count: usize): void {
  for (const end = x + (count << 2); x < end; x += 16, y += 16) v128.store(y, exp(v128.load(x)));
}

/** `y = eˣ` for `count` f64 ≤ 709, an even number. */
export function exp_f64(x: usize, y: usize, count: usize): void {
  for (const end = x + (count << 3); x < end; x += 16, y += 16) v128.store(y, expBounded64(v128.load(x)));
}

/** Natural logarithm of one f64. */
export function log_f64(x: f64): f64 {
  return log(x);
}
