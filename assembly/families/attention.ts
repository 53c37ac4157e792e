// Attention: a block of queries against tiles of keys.
export { attention_block_f32 } from "../kernels/attention";
export { attention_merge_f32 } from "../kernels/attention-merge";
export { attention_rows_f32 } from "../kernels/attention-rows";
export { attention_scores_f32 } from "../kernels/attention-scores";
export { merge_states_f32 } from "../kernels/merge-states";
export { rotary_f32 } from "../kernels/rotary";
export { sink_share_f32 } from "../kernels/sink-share";
