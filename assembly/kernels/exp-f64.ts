import { expBounded64 } from "../math/exp64";

/** `y = eˣ` for `count` f64 ≤ 709, an even number. Used by tests to check the documented error. */
export function exp_f64(x: usize, y: usize, count: usize): void {
  for (const end = x + (count << 3); x < end; x += 16, y += 16) v128.store(y, expBounded64(v128.load(x)));
}
