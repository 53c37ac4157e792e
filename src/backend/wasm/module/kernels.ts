/** Three softmax kernels and log-softmax share one signature. Addresses and strides in bytes; `safe` is 0 or 1. */
export type RowKernel = (x: number, y: number, rows: number, cols: number, xStride: number, yStride: number, scratch: number, safe: number) => void;

/** Kernels of row operations. Their seventh argument is scratch, an operation (f64) or the states of the rows (normalize). */
export type RowKernelName =
  "softmax_standard_f32" | "softmax_safe_f32" | "softmax_online_f32" | "log_softmax_f32" | "log_sum_exp_f32" | "online_normalize_f32" | "rows_f64";

/** What both binaries export. assembly/kernels/ documents each. */
export interface Kernels {
  readonly softmax_standard_f32: RowKernel;
  readonly softmax_safe_f32: RowKernel;
  readonly softmax_online_f32: RowKernel;
  readonly log_softmax_f32: RowKernel;
  /** `safe` is without effect: the result for a row without any finite element is −inf anyway. */
  readonly log_sum_exp_f32: RowKernel;
  readonly rows_f64: (x: number, y: number, rows: number, cols: number, xStride: number, yStride: number, op: number, safe: number) => void;
  readonly modify_f32: ModifyKernel;
  readonly modify_f64: ModifyKernel;
  readonly online_absorb_f32: (x: number, rows: number, cols: number, stride: number, states: number) => void;
  readonly online_normalize_f32: (x: number, y: number, rows: number, cols: number, xStride: number, yStride: number, states: number, safe: number) => void;
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
  readonly transpose_f32: (src: number, dst: number, rows: number, cols: number, srcStride: number, dstStride: number) => void;
  readonly exp_f32: (x: number, y: number, count: number) => void;
  readonly exp_f64: (x: number, y: number, count: number) => void;
  readonly log_f64: (x: number) => number;
}

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
