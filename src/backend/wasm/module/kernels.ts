/** The signature of kernels that turn each row into a row or a number. Addresses and strides are in bytes; `safe` is 0 or 1. */
export type RowKernel = (x: number, y: number, rows: number, cols: number, xStride: number, yStride: number, scratch: number, safe: number) => void;

/** What the family `rows` exports. assembly/kernels/ documents each. */
export interface RowKernels {
  readonly softmax_standard_f32: RowKernel;
  readonly softmax_safe_f32: RowKernel;
  readonly softmax_online_f32: RowKernel;
  readonly softmax_f64: RowKernel;
  readonly log_softmax_f32: RowKernel;
  readonly log_softmax_f64: RowKernel;
  /** `safe` has no effect: a row without finite elements gives −inf anyway. */
  readonly log_sum_exp_f32: RowKernel;
  readonly log_sum_exp_f64: RowKernel;
  readonly modify_f32: ModifyKernel;
  readonly modify_f64: ModifyKernel;
  readonly online_absorb_f32: (x: number, rows: number, cols: number, stride: number, states: number) => void;
  /** The seventh argument is the address of the rows' states. */
  readonly online_normalize_f32: RowKernel;
  readonly transpose_f32: (src: number, dst: number, rows: number, cols: number, srcStride: number, dstStride: number) => void;
}

/** What the family `attention` exports. */
export interface AttentionKernels {
  readonly attention_block_f32: (block: number, keyStart: number, keyEnd: number, mode: number, scratch: number) => void;
  readonly attention_merge_f32: (block: number, state: number, total: number, mode: number) => void;
  readonly attention_rows_f32: AttentionKernels["attention_block_f32"];
  readonly attention_scores_f32: (block: number, keyStart: number, keyEnd: number, stage: number, scratch: number) => void;
  readonly sink_share_f32: (x: number, rows: number, cols: number, stride: number, lse: number, sink: number) => void;
  readonly merge_states_f32: (
    total: number,
    totalStride: number,
    totalLse: number,
    totalLseStride: number,
    part: number,
    partStride: number,
    partLse: number,
    partLseStride: number,
    rows: number,
    dim: number,
    first: number,
  ) => void;
}

/** What the family `testing` exports. */
export interface TestingKernels {
  readonly exp_f32: (x: number, y: number, count: number) => void;
  readonly exp_f64: (x: number, y: number, count: number) => void;
  readonly log_f64: (x: number) => number;
}

/** The kernels that the package ships. */
export interface Kernels extends RowKernels, AttentionKernels {}

/** A kernel by its name. */
export type KernelName = keyof Kernels;

/** The kernels whose signature is `RowKernel`. */
export type RowKernelName = Exclude<keyof RowKernels, "modify_f32" | "modify_f64" | "online_absorb_f32" | "transpose_f32">;

export type ModifyKernel = (
  x: number,
  y: number,
  rows: number,
  cols: number,
  xStride: number,
  yStride: number,
  scale: number,
  bias: number,
  biasStride: number,
  mask: number,
  maskStride: number,
) => void;

/** Elements that the online kernel treats as one block of a row. It needs four bytes of scratch per block. */
export const BLOCK_ELEMENTS = 1024;
/** Bytes of one row state: max (f32) at 0, sum (f64) at 8. */
export const STATE_BYTES = 16;
