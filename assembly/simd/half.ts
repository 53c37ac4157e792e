// 16-bit floats, four lanes at a time. f16 is IEEE half precision; bf16 is the upper half of an f32. Every value converts exactly to f32.
// Back, values round to nearest even, too large ones become infinite, and a NaN stays a NaN. Both directions are the branchless ones of
// XNNPACK (src/f16-f32-vcvt, src/f32-f16-vcvt).

const HALF: usize = memory.data<u32>([
  0x00007fff, // MAGNITUDE   an f16 without its sign
  0x77800000, // UP          2¹¹² as f32: what lies between the exponents of f16 and f32; also the way to overflow
  0x0f7fffff, // LARGEST     the largest finite f16, shifted into the place of an f32
  0x7f800000, // EXPONENT    that of an f32
  0x07800000, // BIAS        15 in the exponent of an f32
  0x08800000, // DOWN        2⁻¹¹⁰ as f32
  0x40000000, // LEAST_BIAS  2: the exponent below which an f16 is subnormal
  0x00000fff, // MANTISSA    what is left of the sum of an f16 mantissa
  0x00007c00, // EXPONENT16  that of an f16
  0x00007e00, // NAN16       an f16 NaN
  0x00007fff, // ROUND       just below half of the last place of a bf16
  0x00000001, // LAST        its last place
  0x00400000, // QUIET       makes a bf16 NaN of any f32 NaN
], 16);

@inline function lanes(index: usize): v128 {
  return v128.load32_splat(HALF + (index << 2));
}

/** f32 of four f16, given as i32 lanes. */
@inline export function fromF16(bits: v128): v128 {
  const sign = i32x4.shl(v128.andnot(bits, lanes(0)), 16);
  const magnitude = i32x4.shl(v128.and(bits, lanes(0)), 13);
  // Infinity and NaN have the largest exponent in both formats.
  const special = v128.and(i32x4.gt_s(magnitude, lanes(2)), lanes(3));
  // Multiplying moves the exponent, and makes normal numbers of subnormal ones.
  return v128.or(v128.or(f32x4.mul(magnitude, lanes(1)), special), sign);
}

/** The bits of four f16, in i32 lanes. */
@inline export function toF16(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const sign = i32x4.shr_u(v128.xor(x, magnitude), 16);
  const exponent = i32x4.max_s(v128.and(i32x4.add(magnitude, lanes(4)), lanes(3)), lanes(6));
  // Adding a power of two leaves the rounded mantissa in the low bits.
  const sum = f32x4.add(f32x4.mul(f32x4.mul(magnitude, lanes(1)), lanes(5)), exponent);
  const bits = i32x4.add(v128.and(i32x4.shr_u(sum, 13), lanes(8)), v128.and(sum, lanes(7)));
  return v128.or(v128.bitselect(lanes(9), bits, i32x4.gt_s(magnitude, lanes(3))), sign);
}

/** f32 of four bf16, given as i32 lanes. */
@inline export function fromBf16(bits: v128): v128 {
  return i32x4.shl(bits, 16);
}

/** The bits of four bf16, in i32 lanes. */
@inline export function toBf16(x: v128): v128 {
  const rounded = i32x4.add(x, i32x4.add(lanes(10), v128.and(i32x4.shr_u(x, 16), lanes(11))));
  const isNaN = f32x4.ne(x, x);
  return i32x4.shr_u(v128.bitselect(v128.or(x, lanes(12)), rounded, isNaN), 16);
}
