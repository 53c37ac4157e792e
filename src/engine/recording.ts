import { type AttentionOptions, parseAttention } from "../ops/attention.ts";
import { type AttentionScoresOptions, parseAttentionScores } from "../ops/attention-scores.ts";
import { type AttentionVarlenOptions, parseAttentionVarlen } from "../ops/attention-varlen.ts";
import type { GpuRecording } from "../backend/webgpu/recorder/gpu.ts";
import { disposeSymbol } from "../errors/dispose-symbol.ts";
import type { EngineInput, Exactly, OnGpu, OptionOf, RecordedAttention, RecordedResult, RecordedWithLse } from "./types.ts";
import { type LogSoftmaxOptions, parseLogSoftmax } from "../ops/log-softmax.ts";
import { type LogSumExpOptions, parseLogSumExp } from "../ops/log-sum-exp.ts";
import { parseMergeStates } from "../ops/merge-states.ts";
import { type SoftmaxOptions, parseSoftmax } from "../ops/softmax.ts";
import type { ResidentTensor } from "../tensor/tensor.ts";

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
  softmax<P extends OnGpu<SoftmaxOptions> = object>(x: EngineInput, options?: Exactly<OnGpu<SoftmaxOptions>, P>): RecordedResult<OptionOf<P, "out">> {
    return this.#recording.rows(parseSoftmax(x, options as SoftmaxOptions | undefined)) as never;
  }

  /** Log-softmax along one axis. */
  logSoftmax<P extends OnGpu<LogSoftmaxOptions> = object>(x: EngineInput, options?: Exactly<OnGpu<LogSoftmaxOptions>, P>): RecordedResult<OptionOf<P, "out">> {
    return this.#recording.rows(parseLogSoftmax(x, options as LogSoftmaxOptions | undefined)) as never;
  }

  /** log Σ exp(x) over one or more axes. */
  logSumExp<P extends OnGpu<LogSumExpOptions> = object>(x: EngineInput, options?: Exactly<OnGpu<LogSumExpOptions>, P>): RecordedResult<OptionOf<P, "out">> {
    return this.#recording.rows(parseLogSumExp(x, options as LogSumExpOptions | undefined)) as never;
  }

  /** Scaled dot-product attention. */
  attention<P extends OnGpu<AttentionOptions> = object>(
    q: EngineInput,
    k: EngineInput,
    v: EngineInput,
    options?: Exactly<OnGpu<AttentionOptions>, P>,
  ): RecordedAttention<P> {
    return this.#recording.attention(parseAttention(q, k, v, options as AttentionOptions | undefined)) as never;
  }

  /** Attention over a ragged batch. */
  attentionVarlen<P extends OnGpu<AttentionVarlenOptions>>(
    q: EngineInput,
    k: EngineInput,
    v: EngineInput,
    options: Exactly<OnGpu<AttentionVarlenOptions>, P>,
  ): RecordedAttention<P> {
    return this.#recording.attention(parseAttentionVarlen(q, k, v, options as unknown as AttentionVarlenOptions)) as never;
  }

  /** The L × S matrix of scores. */
  attentionScores(q: EngineInput, k: EngineInput, options?: OnGpu<AttentionScoresOptions>): ResidentTensor<"f32"> {
    return this.#recording.attentionScores(parseAttentionScores(q, k, options as AttentionScoresOptions | undefined));
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
