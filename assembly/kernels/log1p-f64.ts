import { log1p } from "../math/log";

/** ln(1 + x). */
export function log1p_f64(x: f64): f64 {
  return log1p(x);
}
