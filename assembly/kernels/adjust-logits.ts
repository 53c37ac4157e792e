/** Bytes of an adjustment: token (i32), how often it occurred before (i32), bias (f32). */
const ADJUSTMENT: usize = 12;

/**
 * Adjusts `count` different elements of a row of f32: adds the bias, then, for a token that occurred before, divides what is positive by
 * `repetition` and multiplies the rest with it, and subtracts `frequency` for each occurrence and `presence` once. In f64, rounded at the end.
 */
export function adjust_logits_f32(x: usize, adjustments: usize, count: usize, repetition: f64, frequency: f64, presence: f64): void {
  for (; count > 0; count--, adjustments += ADJUSTMENT) {
    const at = x + (load<u32>(adjustments) << 2);
    const times = load<i32>(adjustments, 4);
    let v = <f64>load<f32>(at) + <f64>load<f32>(adjustments, 8);
    if (times > 0) v = (v > 0 ? v / repetition : v * repetition) - <f64>times * frequency - presence;
    store<f32>(at, <f32>v);
  }
}
