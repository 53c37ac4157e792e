// Horizontal reductions, always in the same order: lanes (0,2) and (1,3), then the two halves.

/** Largest of four f32 lanes, ignoring NaN unless it is in lane 0. */
@inline export function reduceMax(v: v128): f32 {
  v = f32x4.pmax(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  v = f32x4.pmax(v, i32x4.shuffle(v, v, 1, 0, 3, 2));
  return f32x4.extract_lane(v, 0);
}

/** Sum of four f32 lanes. */
@inline export function reduceSum(v: v128): f32 {
  v = f32x4.add(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  v = f32x4.add(v, i32x4.shuffle(v, v, 1, 0, 3, 2));
  return f32x4.extract_lane(v, 0);
}

/** Largest of two f64 lanes. */
@inline export function reduceMax64(v: v128): f64 {
  return f64x2.extract_lane(f64x2.pmax(v, i64x2.shuffle(v, v, 1, 0)), 0);
}

/** Sum of two f64 lanes. */
@inline export function reduceSum64(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}
