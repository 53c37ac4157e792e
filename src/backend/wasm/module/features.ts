/** Which of the two binaries: `relaxed` has fused multiply-add, `baseline` runs wherever WebAssembly SIMD does. */
export type Variant = "baseline" | "relaxed";

/** The custom section that holds a binary's variant. */
export const VARIANT_SECTION = "onepass";

// (module (func (result v128) …)) whose body is one instruction of the feature in question.
const HEADER = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10];
// i32.const 0, i8x16.splat
const SIMD_PROBE = [...HEADER, 8, 1, 6, 0, 65, 0, 253, 15, 11];
// three times (i32.const 0, i8x16.splat), f32x4.relaxed_madd
const RELAXED_PROBE = [...HEADER, 19, 1, 17, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65, 0, 253, 15, 253, 133, 2, 11];

/** Whether this engine compiles WebAssembly SIMD. */
export function hasSimd(): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(Uint8Array.from(SIMD_PROBE));
}

/** Whether this engine compiles relaxed SIMD (Node ≥ 22, Chrome, Firefox; not Safari so far). */
export function hasRelaxedSimd(): boolean {
  return typeof WebAssembly === "object" && WebAssembly.validate(Uint8Array.from(RELAXED_PROBE));
}
