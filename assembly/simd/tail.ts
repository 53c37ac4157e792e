// The end of a row, as a padded vector. Scalar WebAssembly has no multiply-add, so a scalar tail would give different bits from the
// vector loop. Nothing beyond the row is read or written.

/** Loads a vector from `p`, or the remaining 4, 8 or 12 bytes of the row. The other lanes hold `pad`. */
@inline export function loadUpTo16(p: usize, bytesLeft: usize, pad: v128): v128 {
  if (bytesLeft >= 16) return v128.load(p);
  if (bytesLeft == 4) return v128.load_lane<f32>(p, pad, 0);
  const v = v128.load_lane<i64>(p, pad, 0);
  return bytesLeft == 8 ? v : v128.load_lane<f32>(p, v, 2, 8);
}

/** Stores `v` at `p`, or its first 4, 8 or 12 bytes. */
@inline export function storeUpTo16(p: usize, bytesLeft: usize, v: v128): void {
  if (bytesLeft >= 16) {
    v128.store(p, v);
  } else if (bytesLeft == 4) {
    v128.store_lane<f32>(p, v, 0);
  } else {
    v128.store_lane<i64>(p, v, 0);
    if (bytesLeft == 12) v128.store_lane<f32>(p, v, 2, 8);
  }
}
