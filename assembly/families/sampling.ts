// Sampling: the largest elements, the next token, and the loss that trains it.
export { top_k_f32 } from "../kernels/top-k";
export { top_k_softmax_f32 } from "../kernels/top-k-softmax";
export { sample_f32 } from "../kernels/sample";
export { cross_entropy_f32 } from "../kernels/cross-entropy";
export { adjust_logits_f32 } from "../kernels/adjust-logits";
