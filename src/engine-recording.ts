import { type AttentionOptions, parseAttention } from "./attention.ts";
import { type AttentionScoresOptions, parseAttentionScores } from "./attention-scores.ts";
import { type AttentionVarlenOptions, parseAttentionVarlen } from "./attention-varlen.ts";
import type { GpuRecording } from "./backend/webgpu/gpu.ts";
import { disposeSymbol } from "./dispose-symbol.ts";
import type { EngineInput, OnEngine, RecordedAttention, RecordedWithLse } from "./engine-types.ts";
import { type LogSoftmaxOptions, parseLogSoftmax } from "./log-softmax.ts";
import { type LogSumExpOptions, parseLogSumExp } from "./log-sum-exp.ts";
import { parseMergeStates } from "./merge-states.ts";
import { type SoftmaxOptions, parseSoftmax } from "./softmax.ts";
import type { ResidentTensor } from "./tensor.ts";

/**
 * Operations recorded into a command encoder of the caller's, by `engine.encode`. Options and errors are those of the engine's methods;
 * operands are read, and results are there, when the GPU runs the commands.
 */
export class EngineRecording {
  readonly #recording: GpuRecording;

  /** @internal */
  constructor(recording: GpuRecording) {
    this.#recording = recording;
  }

  /** Softmax along one axis. */
  softmax(x: EngineInput, options?: OnEngine<SoftmaxOptions>): ResidentTensor<"f32"> {
    return this.#recording.rows(parseSoftmax(x, options as SoftmaxOptions));
  }

  /** Log-softmax along one axis. */
  logSoftmax(x: EngineInput, options?: OnEngine<LogSoftmaxOptions>): ResidentTensor<"f32"> {
    return this.#recording.rows(parseLogSoftmax(x, options as LogSoftmaxOptions));
  }

  /** log Σ exp(x) over one or more axes. */
  logSumExp(x: EngineInput, options?: OnEngine<LogSumExpOptions>): ResidentTensor<"f32"> {
    return this.#recording.rows(parseLogSumExp(x, options as LogSumExpOptions));
  }

  /** Scaled dot-product attention. */
  attention<O extends OnEngine<AttentionOptions>>(q: EngineInput, k: EngineInput, v: EngineInput, options?: O): RecordedAttention<O> {
    return this.#recording.attention(parseAttention(q, k, v, options as AttentionOptions)) as RecordedAttention<O>;
  }

  /** Attention over a ragged batch. */
  attentionVarlen<O extends OnEngine<AttentionVarlenOptions>>(q: EngineInput, k: EngineInput, v: EngineInput, options: O): RecordedAttention<O> {
    return this.#recording.attention(parseAttentionVarlen(q, k, v, options as unknown as AttentionVarlenOptions)) as RecordedAttention<O>;
  }

  /** The L × S matrix of scores. */
  attentionScores(q: EngineInput, k: EngineInput, options?: OnEngine<AttentionScoresOptions>): ResidentTensor<"f32"> {
    return this.#recording.attentionScores(parseAttentionScores(q, k, options as AttentionScoresOptions));
  }

  /** Merges attention over disjoint parts of the keys. */
  mergeStates(parts: readonly { readonly out: EngineInput; readonly lse: EngineInput }[], options?: { readonly layout?: "bhld" | "blhd" }): RecordedWithLse {
    return this.#recording.mergeStates(parseMergeStates(parts, options));
  }

  /** Resolves when all shaders recorded so far are known to compile; rejects with BackendError if one does not. */
  check(): Promise<void> {
    return this.#recording.check();
  }

  /** Frees what the calls needed in between; after the commands were submitted. Results stay. */
  dispose(): void {
    this.#recording.dispose();
  }

  /** The same as {@link EngineRecording.dispose}, for `using`. */
  [disposeSymbol](): void {
    this.dispose();
  }
}
