// V8 13 and later rebuild a v128 literal with three instructions at every use, so loops contain none. Constants live in this table
// and are loaded with `v128.load_splat`. The engine cannot see through that, and keeps the result in a register.

/** The most negative finite f32. The running max starts here, so that a row of −inf gives exp(−inf − FLOOR) = 0, not NaN. */
export const FLOOR: f32 = -3.4028234663852886e38;

const TABLE: usize = memory.data<f32>([
  12582912.0, //            MAGIC   1.5 · 2²³: adding it rounds to an integer, which is left in the low mantissa bits
  1.4426950408889634, //    LOG2E
  0.693145751953125, //     LN2_HI  16 bits of ln 2, so n · LN2_HI is exact for |n| ≤ 128 even when not fused
  1.428606765330187e-6, //  LN2_LO  ln 2 − LN2_HI
  0.001384430332109332, //  C6 … C2 of (eᵗ − 1)/t on |t| ≤ ln 2 / 2: minimax (Remez), then searched nearby for the smallest
  0.00837432499974966, //   error of the whole in f32 arithmetic, 0.84 ULP fused instead of 1.04
  0.041667960584163666,
  0.16666455566883087,
  0.4999999403953552,
  1.0, //                   ONE     also C1, and C0 of eᵗ
  -87.33654022216797, //    EXP_MIN the smallest f32 whose exponential is a normal number
  88.72283172607422, //     EXP_MAX the largest f32 whose exponential is finite
  Infinity, //              INF
  -3.4028234663852886e38, // LOWEST  FLOOR, as a constant of the table
  -Infinity, //             NEG_INF
  2.0, //                   EXP_TWO
  0.625, //                 TANH_SMALL below it tanh is a polynomial
  10.0, //                  TANH_MAX  from here on tanh is 1 in f32
  -0.3333328366279602, //   T3 … T11: minimax for (tanh(x)/x − 1)/x² in x² on |x| ≤ 0.625, relative error 5e-9 (Remez)
  0.13331492245197296,
  -0.05374351516366005,
  0.020650634542107582,
  -0.005717091262340546,
  12583039.0, //            MAGIC_BIASED the same + 127, the bias of an exponent field
], 16);

export const MAGIC: usize = 0;
export const LOG2E: usize = 4;
export const LN2_HI: usize = 8;
export const LN2_LO: usize = 12;
export const C6: usize = 16;
export const C5: usize = 20;
export const C4: usize = 24;
export const C3: usize = 28;
export const C2: usize = 32;
export const ONE: usize = 36;
export const EXP_MIN: usize = 40;
export const EXP_MAX: usize = 44;
export const INF: usize = 48;
export const LOWEST: usize = 52;
export const NEG_INF: usize = 56;
export const EXP_TWO: usize = 60;
export const TANH_SMALL: usize = 64;
export const TANH_MAX: usize = 68;
export const T3: usize = 72;
export const T5: usize = 76;
export const T7: usize = 80;
export const T9: usize = 84;
export const T11: usize = 88;
export const MAGIC_BIASED: usize = 92;

/** A table constant in all four lanes. */
@inline export function constant(offset: usize): v128 {
  return v128.load_splat<f32>(TABLE + offset);
}
