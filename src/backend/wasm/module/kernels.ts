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
  readonly f32_from_f16: ConvertKernel;
  readonly f32_from_bf16: ConvertKernel;
  readonly f16_from_f32: ConvertKernel;
  readonly bf16_from_f32: ConvertKernel;
  readonly f32_from_i8: QuantKernel;
  readonly i8_from_f32: QuantKernel;
  readonly transpose_f32: (src: number, dst: number, rows: number, cols: number, srcStride: number, dstStride: number) => void;
}

/** What the family `attention` exports. */
export interface AttentionKernels {
  readonly attention_block_f32: (block: number, keyStart: number, keyEnd: number, mode: number, scratch: number) => void;
  readonly attention_merge_f32: (block: number, state: number, total: number, mode: number) => void;
  readonly attention_rows_f32: AttentionKernels["attention_block_f32"];
  readonly attention_scores_f32: (block: number, keyStart: number, keyEnd: number, stage: number, scratch: number) => void;
  readonly rotary_f32: (x: number, heads: number, rows: number, dim: number, half: number, interleaved: number, table: number) => void;
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

/** What the family `sampling` exports. */
export interface SamplingKernels {
  readonly top_k_f32: (x: number, rows: number, cols: number, xStride: number, k: number, values: number, indices: number, scratch: number) => void;
  readonly top_k_softmax_f32: (
    x: number,
    rows: number,
    cols: number,
    xStride: number,
    k: number,
    logProbs: number,
    indices: number,
    scratch: number,
    scale: number,
  ) => void;
  readonly sample_f32: (
    x: number,
    rows: number,
    cols: number,
    xStride: number,
    row: number,
    tokens: number,
    logProbs: number,
    scratch: number,
    filterScale: number,
    drawScale: number,
    k: number,
    topP: number,
    minP: number,
    seed: number,
    step: number,
  ) => void;
  readonly cross_entropy_f32: (
    x: number,
    rows: number,
    cols: number,
    xStride: number,
    targets: number,
    losses: number,
    grad: number,
    scratch: number,
    gradStride: number,
    weight: number,
    smoothing: number,
  ) => void;
  readonly adjust_logits_f32: (x: number, adjustments: number, count: number, repetition: number, frequency: number, presence: number) => void;
}

/** What the family `linear` exports. */
export interface LinearKernels {
  readonly linear_f32: (
    x: number,
    xStride: number,
    w: number,
    wStride: number,
    y: number,
    yStride: number,
    rows: number,
    cols: number,
    depth: number,
    bias: number,
    hasBias: number,
  ) => void;
}

/** What the family `testing` exports. */
export interface TestingKernels {
  readonly exp_f32: (x: number, y: number, count: number) => void;
  readonly exp_f64: (x: number, y: number, count: number) => void;
  readonly log_f64: (x: number) => number;
  readonly log1p_f64: (x: number) => number;
  readonly philox_u32: (words: number, key0: number, key1: number) => void;
}

/** The kernels that the package ships. */
export interface Kernels extends RowKernels, AttentionKernels, SamplingKernels, LinearKernels {}

/** A kernel by its name. */
export type KernelName = keyof Kernels;

/** The kernels whose signature is `RowKernel`. */
export type RowKernelName = Exclude<keyof RowKernels, "modify_f32" | "modify_f64" | "online_absorb_f32" | "transpose_f32" | `${string}_from_${string}`>;

/** The signature of kernels that convert 16-bit floats. */
export type ConvertKernel = (src: number, dst: number, count: number) => void;

/** The signature of kernels that convert rows of i8 with their scales. */
export type QuantKernel = (src: number, dst: number, rows: number, cols: number, scales: number) => void;

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
/** Bytes of one row state: max (f32) at 0, sum without the max's own 1 (f64) at 8. */
export const STATE_BYTES = 16;
