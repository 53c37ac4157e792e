import { exp } from "../math/exp";

/** `y = eˣ` for `count` f32, a multiple of 4. Used by tests to check the documented error. */
export function exp_f32(x: usize, y: usize, count: usize): void {
  for (const end = x + (count << 2); x < end; x += 16, y += 16) v128.store(y, exp(v128.load(x)));
}
