export type { DType } from "./tensor/array.ts";
export { createBlockMask } from "./ops/create-block-mask.ts";
export type { SoftmaxAlgorithm } from "./calls/row-call.ts";
export type { AbortSignalLike } from "./errors/signal.ts";
export type { ScoreStage } from "./calls/scores-call.ts";
export { alibiSlopes } from "./ops/alibi-slopes.ts";
export { applyRotary, type RotaryOptions } from "./ops/apply-rotary.ts";
export type { DynamicScaling, LinearScaling, Llama3Scaling, RotaryAngles, RotaryScaling, YarnScaling } from "./calls/rotary-call.ts";
export { attention, scaledDotProductAttention, type AttentionOptions, type AttentionResultWithLse } from "./ops/attention.ts";
export type { IntegerTensor, Integers, ScoreOptions } from "./calls/attention-arguments.ts";
export type { Layout } from "./calls/head-layout.ts";
export { attentionScores, type AttentionScoresOptions } from "./ops/attention-scores.ts";
export { attentionVarlen, type AttentionVarlenOptions } from "./ops/attention-varlen.ts";
export { type BlockMask, type BlockMaskOptions, type MaskMod } from "./calls/block-mask.ts";
export { crossEntropy, type CrossEntropyOptions, type CrossEntropyResult, type Targets } from "./ops/cross-entropy.ts";
export type { Reduction } from "./calls/sampling-call.ts";
export { convert } from "./ops/convert.ts";
export { createEngine } from "./engine/create-engine.ts";
export type { Variant } from "./backend/wasm/module/features.ts";
export type { Calibration, ParallelRate } from "./engine/calibration.ts";
export type { CpuEstimate, Device, GpuEstimate } from "./engine/dispatch.ts";
export type { GPUBufferLike, GPUCommandEncoderLike, GPUDeviceLike, GPULike, GpuInfo } from "./tensor/gpu-types.ts";
export type { Engine } from "./engine/engine.ts";
export type { EngineKVCache } from "./engine/engine-kv-cache.ts";
export type { EngineRecording } from "./engine/recording.ts";
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
  OnCpu,
  OnEngine,
  OnGpu,
  OptionOf,
  RecordedAttention,
  RecordedResult,
  RecordedWithLse,
  UploadedType,
  URLLike,
} from "./engine/types.ts";
export { empty, type ModuleTensor } from "./ops/empty.ts";
export { BackendError, DisposedError, UnsupportedError } from "./errors/errors.ts";
export { KVCache, type AppendOptions, type AttendOptions, type KVCacheOptions } from "./ops/kv-cache.ts";
export { logSoftmax, type LogSoftmaxOptions } from "./ops/log-softmax.ts";
export { logSumExp, type LogSumExpOptions } from "./ops/log-sum-exp.ts";
export { mergeStates, type PartialAttention } from "./ops/merge-states.ts";
export { OnlineSoftmax, type NormalizeOptions } from "./ops/online-softmax.ts";
export { sample, type SampleOptions, type SampleResult, type TokenList } from "./ops/sample.ts";
export { quantize } from "./ops/quantize.ts";
export { softmax, type SoftmaxOptions } from "./ops/softmax.ts";
export { linear, type LinearOptions } from "./ops/linear.ts";
export { matmul, type MatmulOptions } from "./ops/matmul.ts";
export { topK, type TopKOptions, type TopKResult } from "./ops/top-k.ts";
export { topKSoftmax, type TopKSoftmaxOptions, type TopKSoftmaxResult } from "./ops/top-k-softmax.ts";
export {
  tensor,
  type DTypeData,
  type DTypeIn,
  type DTypeOf,
  type Float16ArrayLike,
  type FloatArray,
  type GpuTensor,
  type QuantizedTensor,
  type NestedNumbers,
  type OutputLike,
  type OutOf,
  type ResidentTensor,
  type ShapedArray,
  type Tensor,
  type TensorLike,
  type MaskLike,
} from "./tensor/tensor.ts";
