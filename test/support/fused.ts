// An engine may fuse relaxed multiply-add or not. Which it does decides the error that exp promises.

// (module (func (export "f") (param f32 f32 f32) (result f32)
//   (f32x4.extract_lane 0 (f32x4.relaxed_madd (f32x4.splat (local.get 0)) (f32x4.splat (local.get 1)) (f32x4.splat (local.get 2))))))
const MODULE = [
  [0, 97, 115, 109, 1, 0, 0, 0],
  [1, 8, 1, 96, 3, 125, 125, 125, 1, 125], // type: (f32, f32, f32) → f32
  [3, 2, 1, 0],
  [7, 5, 1, 1, 102, 0, 0],
  [10, 22, 1, 20, 0, 32, 0, 253, 19, 32, 1, 253, 19, 32, 2, 253, 19, 253, 133, 2, 253, 31, 0, 11],
].flat();

/** Whether this engine's relaxed multiply-add rounds only once. Needs relaxed SIMD. */
export function isFused(): boolean {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(MODULE)));
  const madd = exports["f"] as (a: number, b: number, c: number) => number;
  // (1 + 2⁻¹²)² = 1 + 2⁻¹¹ + 2⁻²⁴, and the last term does not fit in an f32.
  return madd(1 + 2 ** -12, 1 + 2 ** -12, -(1 + 2 ** -11)) === 2 ** -24;
}
