// Rows: softmax, log-softmax, log-sum-exp, and what prepares rows for them; conversions of storage, for all plans.
export { bf16_from_f32, f16_from_f32, f32_from_bf16, f32_from_f16 } from "../kernels/convert-half";
export { f32_from_i8, i8_from_f32 } from "../kernels/convert-i8";
export { log_softmax_f32 } from "../kernels/log-softmax";
export { log_softmax_f64 } from "../kernels/log-softmax-f64";
export { log_sum_exp_f32 } from "../kernels/log-sum-exp";
export { log_sum_exp_f64 } from "../kernels/log-sum-exp-f64";
export { modify_f32 } from "../kernels/modify";
export { modify_f64 } from "../kernels/modify-f64";
export { online_absorb_f32 } from "../kernels/online-absorb";
export { online_normalize_f32 } from "../kernels/online-normalize";
export { softmax_f64 } from "../kernels/softmax-f64";
export { softmax_online_f32 } from "../kernels/softmax-online";
export { softmax_safe_f32 } from "../kernels/softmax-safe";
export { softmax_standard_f32 } from "../kernels/softmax-standard";
export { transpose_f32 } from "../kernels/transpose";
