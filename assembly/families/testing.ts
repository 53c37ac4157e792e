// The functions of math/ over arrays, only for tests.
export { exp_f32 } from "../kernels/exp-f32";
export { exp_f64 } from "../kernels/exp-f64";
export { log_f64 } from "../kernels/log-f64";
