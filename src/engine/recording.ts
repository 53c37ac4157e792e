import type { Recording } from "../backend/webgpu/recorder/recording.ts";
import { disposeSymbol } from "../errors/dispose-symbol.ts";
import type { AttentionScoresOptions } from "../ops/attention-scores.ts";
import type { AttentionVarlenOptions } from "../ops/attention-varlen.ts";
import type { AttentionOptions } from "../ops/attention.ts";
import type { LogSoftmaxOptions } from "../ops/log-softmax.ts";
import type { LogSumExpOptions } from "../ops/log-sum-exp.ts";
import type { SoftmaxOptions } from "../ops/softmax.ts";
import type { ResidentTensor } from "../tensor/tensor.ts";
import { parseCall } from "./operations.ts";
import type { EngineInput, EngineOp, Exactly, OnGpu, OptionOf, RecordedAttention, RecordedResult, RecordedWithLse } from "./types.ts";

/**
 * Operations recorded into your command encoder, from `engine.encode`. Options and errors are those of the engine's methods. The GPU reads
 * operands and writes results when it runs the commands.
 */
export class EngineRecording {
  readonly #recording: Recording;

  /** @internal */
  constructor(recording: Recording) {
    this.#recording = recording;
  }

  /** Softmax along one axis. */
  softmax<P extends OnGpu<SoftmaxOptions> = object>(x: EngineInput, options?: Exactly<OnGpu<SoftmaxOptions>, P>): RecordedResult<OptionOf<P, "out">> {
    return this.#run("softmax", x, options);
  }

  /** Log-softmax along one axis. */
  logSoftmax<P extends OnGpu<LogSoftmaxOptions> = object>(x: EngineInput, options?: Exactly<OnGpu<LogSoftmaxOptions>, P>): RecordedResult<OptionOf<P, "out">> {
    return this.#run("logSoftmax", x, options);
  }

  /** log Σ exp(x) over one or more axes. */
  logSumExp<P extends OnGpu<LogSumExpOptions> = object>(x: EngineInput, options?: Exactly<OnGpu<LogSumExpOptions>, P>): RecordedResult<OptionOf<P, "out">> {
    return this.#run("logSumExp", x, options);
  }

  /** Scaled dot-product attention. */
  attention<P extends OnGpu<AttentionOptions> = object>(
    q: EngineInput,
    k: EngineInput,
    v: EngineInput,
    options?: Exactly<OnGpu<AttentionOptions>, P>,
  ): RecordedAttention<P> {
    return this.#run("attention", q, k, v, options);
  }

  /** Attention over a ragged batch. */
  attentionVarlen<P extends OnGpu<AttentionVarlenOptions>>(
    q: EngineInput,
    k: EngineInput,
    v: EngineInput,
    options: Exactly<OnGpu<AttentionVarlenOptions>, P>,
  ): RecordedAttention<P> {
    return this.#run("attentionVarlen", q, k, v, options);
  }

  /** The L × S matrix of scores. */
  attentionScores(q: EngineInput, k: EngineInput, options?: OnGpu<AttentionScoresOptions>): ResidentTensor<"f32"> {
    return this.#run("attentionScores", q, k, options);
  }

  /** Merges attention over disjoint parts of the keys. */
  mergeStates(parts: readonly { readonly out: EngineInput; readonly lse: EngineInput }[], options?: { readonly layout?: "bhld" | "blhd" }): RecordedWithLse {
    return this.#run("mergeStates", parts, options);
  }

  /** Resolves once all shaders recorded so far are known to compile; rejects with BackendError if one does not. */
  check(): Promise<void> {
    return this.#recording.check();
  }

  #run(op: EngineOp, ...args: readonly unknown[]): never {
    return this.#recording.run(parseCall(op, ...args)) as never;
  }

  /** Frees temporary buffers. Call it after submitting the commands. Results stay. */
  dispose(): void {
    this.#recording.dispose();
  }

  /** The same as {@link EngineRecording.dispose}, for `using`. */
  [disposeSymbol](): void {
    this.dispose();
  }
}
