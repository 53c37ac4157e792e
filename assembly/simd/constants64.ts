// Like constants.ts, for f64. A separate table, so that binaries without f64 do not carry it.

const TABLE64: usize = memory.data<f64>([
  6755399441056767.0, //     MAGIC64   1.5 · 2⁵² + 1023
  1.4426950408889634, //     LOG2E64
  0.6931471803691238, //     LN2_HI64  33 bits of ln 2
  1.9082149292705877e-10, // LN2_LO64
  -708.3964185322641, //     EXP_MIN64
  -Infinity, //              NEG_INF64
  -1.7976931348623157e308, // LOWEST64
  1.0, //                    TAYLOR64  1/0! … 1/13!, relative error 4e-18 on |t| ≤ ln 2 / 2
  1.0,
  0.5,
  0.16666666666666666,
  0.041666666666666664,
  0.008333333333333333,
  0.001388888888888889,
  0.0001984126984126984,
  0.0000248015873015873,
  0.0000027557319223985893,
  2.755731922398589e-7,
  2.505210838544172e-8,
  2.08767569878681e-9,
  1.6059043836821613e-10,
], 16);

export const MAGIC64: usize = 0;
export const LOG2E64: usize = 8;
export const LN2_HI64: usize = 16;
export const LN2_LO64: usize = 24;
export const EXP_MIN64: usize = 32;
export const NEG_INF64: usize = 40;
export const LOWEST64: usize = 48;
export const TAYLOR64: usize = 56;

/** An f64 table constant in both lanes. */
@inline export function constant64(offset: usize): v128 {
  return v128.load_splat<f64>(TABLE64 + offset);
}
