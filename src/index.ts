export { alibiSlopes } from "./alibi.ts";
export { attention, scaledDotProductAttention, type AttentionOptions, type AttentionResultWithLse } from "./attention.ts";
export type { ScoreOptions } from "./attention-arguments.ts";
export type { Layout } from "./head-layout.ts";
export { attentionScores, type AttentionScoresOptions, type ScoreStage } from "./attention-scores.ts";
export { attentionVarlen, type AttentionVarlenOptions } from "./attention-varlen.ts";
export { createBlockMask, type BlockMask, type BlockMaskOptions, type MaskMod } from "./block-mask.ts";
export { createEngine } from "./create-engine.ts";
export type { Variant } from "./backend/wasm/features.ts";
export type { Calibration, ParallelRate } from "./calibration.ts";
export type { CpuEstimate, Device, GpuEstimate } from "./dispatch.ts";
export type { AbortSignalLike, GPUBufferLike, GPUCommandEncoderLike, GPUDeviceLike, GPULike, GpuInfo } from "./gpu-types.ts";
export type { Engine } from "./engine.ts";
export type { EngineRecording } from "./engine-recording.ts";
export type {
  ByteTensor,
  Downloaded,
  EngineAttention,
  EngineInfo,
  EngineInput,
  EngineOptions,
  EngineOp,
  EngineResult,
  EngineWithLse,
  Exactly,
  ExplainOptions,
  ExplainShapes,
  Explanation,
  OnEngine,
  OnGpu,
  OptionOf,
  RecordedAttention,
  RecordedResult,
  RecordedWithLse,
  UploadedType,
  URLLike,
} from "./engine-types.ts";
export { empty, type ModuleTensor } from "./empty.ts";
export { BackendError, DisposedError, UnsupportedError } from "./errors.ts";
export { logSoftmax, type LogSoftmaxOptions } from "./log-softmax.ts";
export { logSumExp, type LogSumExpOptions } from "./log-sum-exp.ts";
export { mergeStates, type PartialAttention } from "./merge-states.ts";
export { OnlineSoftmax, type NormalizeOptions } from "./online-softmax.ts";
export { softmax, type MaskLike, type SoftmaxAlgorithm, type SoftmaxOptions } from "./softmax.ts";
export {
  tensor,
  type DType,
  type DTypeData,
  type DTypeIn,
  type DTypeOf,
  type Float16ArrayLike,
  type FloatArray,
  type GpuTensor,
  type ResidentTensor,
  type ShapedArray,
  type Tensor,
  type TensorLike,
} from "./tensor.ts";
