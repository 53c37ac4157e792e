// The functions of math/ over arrays, only for tests.
export { exp_f32 } from "../kernels/exp-f32";
export { exp_f64 } from "../kernels/exp-f64";
export { log_f64 } from "../kernels/log-f64";
export { log1p_f64 } from "../kernels/log1p-f64";
export { philox_u32 } from "../kernels/philox";
