// eˣ and ln x in WGSL, using only additions and multiplications, which WGSL rounds correctly. The built-in `exp` may be off by 3 + 2|x|
// ULP, and `log` by 2⁻²¹ between ½ and 2. The price is about a dozen multiply-adds for eˣ; a kernel that streams memory has 50 or more to
// spare per number on any GPU. If a driver fuses or reassociates, the errors below stay within 2 ULP.

/**
 * `fn NAME(x: TYPE) -> TYPE`: eˣ for x ≤ 88.72, exactly 1 for 0 and exactly 0 below −87.33, −inf included. 88.8 and NaN give NaN. Other
 * x above 88.72 give garbage.
 *
 * eˣ = 2ⁿ · eᵗ with n = round(x · log₂e) and t = x − n · ln 2 in two steps; the coefficients are those of assembly/math/exp.ts. Error
 * in the normal range: at most 1.5 ULP, unfused, for every 251st f32 (test/webgpu/rows-math.test.ts).
 */
export function expWgsl(name: string, type: "f32" | "vec4<f32>"): string {
  const bits = type === "f32" ? "u32" : "vec4<u32>";
  return `
fn ${name}(x: ${type}) -> ${type} {
  let n = round(x * 1.4426950408889634);
  // The first 16 bits of ln 2, so that n times them is exact.
  let t = (x - n * 0.693145751953125) - n * 1.428606765330187e-6;
  var p = t * 0.001384430332109332 + 0.00837432499974966;
  p = p * t + 0.041667960584163666;
  p = p * t + 0.16666455566883087;
  p = p * t + 0.4999999403953552;
  p = p * t + 1.0;
  p = p * t + 1.0;
  // Adding 1.5 · 2²³ leaves n in the low bits, which are then added to the exponent.
  let scaled = bitcast<${type}>(bitcast<${bits}>(p) + (bitcast<${bits}>(n + 12582912.0) << ${bits}(23u)));
  return select(scaled, ${type}(0.0), x < ${type}(-87.33));
}
`;
}

/**
 * `fn NAME(x: f32) -> f32`: ln x for normal x > 0. Cephes' `logf`: x = 2ᵏ · f with √½ < f ≤ √2, a polynomial of degree 9 in f − 1, and
 * k · ln 2 in two parts. Error at most 1 ULP for every 251st f32 (test/webgpu/rows-math.test.ts).
 */
export function logWgsl(name: string): string {
  return `
fn ${name}(x: f32) -> f32 {
  // 0x3f3504f3 is √½: subtracting it makes the exponent change where f passes √½.
  let exponent = (bitcast<i32>(x) - 0x3f3504f3) >> 23u;
  let k = f32(exponent);
  let t = bitcast<f32>(bitcast<i32>(x) - (exponent << 23u)) - 1.0;
  let z = t * t;
  var p = t * 7.0376836292e-2 - 1.1514610310e-1;
  p = p * t + 1.1676998740e-1;
  p = p * t - 1.2420140846e-1;
  p = p * t + 1.4249322787e-1;
  p = p * t - 1.6668057665e-1;
  p = p * t + 2.0000714765e-1;
  p = p * t - 2.4999993993e-1;
  p = p * t + 3.3333331174e-1;
  return (t + (p * t * z - 0.5 * z - k * 2.12194440e-4)) + k * 0.693359375;
}
`;
}
