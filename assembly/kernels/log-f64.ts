import { log } from "../math/log";

/** Natural logarithm of one f64. Used by tests to check the documented error. */
export function log_f64(x: f64): f64 {
  return log(x);
}
