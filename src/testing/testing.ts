// For tests and benchmarks: both binaries in one process, and the kernels themselves. Not covered by semantic versioning.
import { compute } from "../backend/wasm/drivers/compute.ts";
import { type Variant, hasRelaxedSimd } from "../backend/wasm/module/features.ts";
import { ATTENTION } from "../backend/wasm/module/attention-family.ts";
import type { Kernels, TestingKernels } from "../backend/wasm/module/kernels.ts";
import { LINEAR } from "../backend/wasm/module/linear-family.ts";
import { ROWS } from "../backend/wasm/module/rows-family.ts";
import { SAMPLING } from "../backend/wasm/module/sampling-family.ts";
import { TESTING } from "../backend/wasm/module/testing-family.ts";
import type { ModuleMemory } from "../backend/wasm/module/memory.ts";
import { createRuntime } from "../backend/wasm/module/runtime.ts";
import { planAttention } from "../backend/wasm/plans/attention.ts";
import { planProduct } from "../backend/wasm/plans/product.ts";
import { planRows } from "../backend/wasm/plans/rows.ts";
import { planSampling } from "../backend/wasm/plans/sampling.ts";
import { planScores } from "../backend/wasm/plans/scores.ts";
import { type AttentionOptions, type AttentionResultWithLse, parseAttention } from "../ops/attention.ts";
import { type AttentionScoresOptions, parseAttentionScores } from "../ops/attention-scores.ts";
import { type AttentionVarlenOptions, parseAttentionVarlen } from "../ops/attention-varlen.ts";
import { type RotaryOptions, applyRotaryOn } from "../ops/apply-rotary.ts";
import { convertOn } from "../ops/convert.ts";
import { quantizeOn } from "../ops/quantize.ts";
import { type ModuleTensor, emptyOn } from "../ops/empty.ts";
import { type LinearOptions, parseLinear } from "../ops/linear.ts";
import { type CrossEntropyOptions, type CrossEntropyResult, type Targets, parseCrossEntropy } from "../ops/cross-entropy.ts";
import { KVCache, type KVCacheOptions } from "../ops/kv-cache.ts";
import { type LogSoftmaxOptions, parseLogSoftmax } from "../ops/log-softmax.ts";
import { type LogSumExpOptions, parseLogSumExp } from "../ops/log-sum-exp.ts";
import { type MatmulOptions, parseMatmul } from "../ops/matmul.ts";
import { OnlineSoftmax } from "../ops/online-softmax.ts";
import { type SampleOptions, type SampleResult, parseSample } from "../ops/sample.ts";
import { type SoftmaxOptions, parseSoftmax } from "../ops/softmax.ts";
import { type TopKOptions, type TopKResult, parseTopK } from "../ops/top-k.ts";
import { type TopKSoftmaxOptions, type TopKSoftmaxResult, parseTopKSoftmax } from "../ops/top-k-softmax.ts";
import type { DType } from "../tensor/array.ts";
import type { QuantizedTensor, Tensor, TensorLike } from "../tensor/tensor.ts";

export type { Kernels, ModuleMemory, TestingKernels, Variant };
export { hasRelaxedSimd };

/** The plain functions bound to an instance of their own. */
export interface Instance {
  readonly variant: Variant;
  /** The kernels of all families. */
  readonly kernels: Kernels & TestingKernels;
  readonly memory: ModuleMemory;
  softmax(x: TensorLike, options?: SoftmaxOptions): Tensor<"f32" | "f64">;
  logSoftmax(x: TensorLike, options?: LogSoftmaxOptions): Tensor<"f32" | "f64">;
  logSumExp(x: TensorLike, options?: LogSumExpOptions): Tensor<"f32" | "f64">;
  onlineSoftmax(rows?: number): OnlineSoftmax;
  attention(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionOptions & { readonly returnLse: true }): AttentionResultWithLse;
  attention(q: TensorLike, k: TensorLike, v: TensorLike, options?: AttentionOptions & { readonly returnLse?: false }): Tensor<"f32">;
  attentionVarlen(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionVarlenOptions): Tensor<"f32"> | AttentionResultWithLse;
  attentionScores(q: TensorLike, k: TensorLike, options?: AttentionScoresOptions): Tensor<"f32">;
  topK(x: TensorLike, k: number, options?: TopKOptions): TopKResult;
  topKSoftmax(logits: TensorLike, k: number, options?: TopKSoftmaxOptions): TopKSoftmaxResult;
  linear(x: TensorLike, weight: TensorLike, options?: LinearOptions): Tensor<"f32">;
  matmul(a: TensorLike, b: TensorLike, options?: MatmulOptions): Tensor<"f32">;
  sample(logits: TensorLike, options?: SampleOptions): SampleResult;
  crossEntropy(logits: TensorLike, targets: Targets, options: CrossEntropyOptions & { readonly returnGrad: true }): CrossEntropyResult;
  crossEntropy(logits: TensorLike, targets: Targets, options?: CrossEntropyOptions & { readonly returnGrad?: false }): Tensor<"f32">;
  applyRotary(x: TensorLike, options?: RotaryOptions): Tensor<"f32">;
  convert<D extends "f32" | "f16" | "bf16">(x: TensorLike, dtype: D): Tensor<D>;
  quantize(x: TensorLike): QuantizedTensor;
  kvCache(options: KVCacheOptions): KVCache;
  empty<D extends DType = "f32">(shape: readonly number[], options?: { readonly dtype?: D }): ModuleTensor<D>;
}

/** Instantiates a binary with a memory of its own. */
export function createInstance(variant?: Variant): Instance {
  const runtime = createRuntime(variant);
  return {
    variant: runtime.variant,
    memory: runtime.memory,
    kernels: { ...runtime.load(ROWS), ...runtime.load(ATTENTION), ...runtime.load(SAMPLING), ...runtime.load(LINEAR), ...runtime.load(TESTING) },
    softmax: (x, options) => compute(runtime, planRows, parseSoftmax(x, options)),
    logSoftmax: (x, options) => compute(runtime, planRows, parseLogSoftmax(x, options)),
    logSumExp: (x, options) => compute(runtime, planRows, parseLogSumExp(x, options)),
    attention: (q: TensorLike, k: TensorLike, v: TensorLike, options?: AttentionOptions) =>
      compute(runtime, planAttention, parseAttention(q, k, v, options)) as never,
    attentionVarlen: (q, k, v, options) => compute(runtime, planAttention, parseAttentionVarlen(q, k, v, options)),
    attentionScores: (q, k, options) => compute(runtime, planScores, parseAttentionScores(q, k, options)),
    topK: (x, k, options) => compute(runtime, planSampling, parseTopK(x, k, options)) as TopKResult,
    topKSoftmax: (logits, k, options) => compute(runtime, planSampling, parseTopKSoftmax(logits, k, options)) as TopKSoftmaxResult,
    linear: (x, weight, options) => compute(runtime, planProduct, parseLinear(x, weight, options)),
    matmul: (a, b, options) => compute(runtime, planProduct, parseMatmul(a, b, options)),
    sample: (logits, options) => compute(runtime, planSampling, parseSample(logits, options)) as SampleResult,
    crossEntropy: (logits: TensorLike, targets: Targets, options?: CrossEntropyOptions) =>
      compute(runtime, planSampling, parseCrossEntropy(logits, targets, options)) as never,
    onlineSoftmax: (rows) => new OnlineSoftmax(rows, runtime),
    applyRotary: (x, options) => applyRotaryOn(runtime, x, options),
    convert: (x, dtype) => convertOn(runtime, x, dtype),
    quantize: (x) => quantizeOn(runtime, x),
    kvCache: (options) => new KVCache(options, runtime),
    empty: (shape, options) => emptyOn(runtime, shape, options),
  };
}
