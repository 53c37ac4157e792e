/** The signature of the kernels that turn rows into rows or into one number each. Addresses and strides in bytes; `safe` is 0 or 1. */
export type RowKernel = (x: number, y: number, rows: number, cols: number, xStride: number, yStride: number, scratch: number, safe: number) => void;

/** What the family `rows` exports. assembly/kernels/ documents each. */
export interface RowKernels {
  readonly softmax_standard_f32: RowKernel;
  readonly softmax_safe_f32: RowKernel;
  readonly softmax_online_f32: RowKernel;
  readonly softmax_f64: RowKernel;
  readonly log_softmax_f32: RowKernel;
  readonly log_softmax_f64: RowKernel;
  /** `safe` is without effect: the result for a row without any finite element is −inf anyway. */
  readonly log_sum_exp_f32: RowKernel;
  readonly log_sum_exp_f64: RowKernel;
  readonly modify_f32: ModifyKernel;
  readonly modify_f64: ModifyKernel;
  readonly online_absorb_f32: (x: number, rows: number, cols: number, stride: number, states: number) => void;
  /** Its seventh argument are the states of the rows. */
  readonly online_normalize_f32: RowKernel;
  readonly transpose_f32: (src: number, dst: number, rows: number, cols: number, srcStride: number, dstStride: number) => void;
}

/** What the family `attention` exports. */
export interface AttentionKernels {
  readonly attention_block_f32: (
    table: number,
    rows: number,
    k: number,
    kStride: number,
    v: number,
    vStride: number,
    keyStart: number,
    keyEnd: number,
    dim: number,
    valueDim: number,
    scale: number,
    softcap: number,
    tiles: number,
    scratch: number,
    flags: number,
  ) => void;
  readonly attention_merge_f32: (table: number, rows: number, valueDim: number, state: number, total: number, flags: number) => void;
  readonly attention_scores_f32: (
    table: number,
    rows: number,
    k: number,
    kStride: number,
    keyStart: number,
    keyEnd: number,
    dim: number,
    scale: number,
    softcap: number,
    tiles: number,
    scratch: number,
    stage: number,
    flags: number,
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

/** Elements of a row that the online kernel treats as one block; it needs four bytes of scratch per block. */
export const BLOCK_ELEMENTS = 1024;
/** Bytes of one row state: max (f32) at 0, sum (f64) at 8. */
export const STATE_BYTES = 16;
