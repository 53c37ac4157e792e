import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planScores } from "../backend/wasm/plans/scores.ts";
import { type ScoreOptions, checkScoresOptions, parseHeads, parseScores } from "../calls/attention-arguments.ts";
import { headsFirst } from "../calls/head-layout.ts";
import type { ScoreStage, ScoresCall } from "../calls/scores-call.ts";
import { parseChoice } from "../errors/options.ts";
import type { Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link attentionScores}. */
export interface AttentionScoresOptions extends ScoreOptions {
  /** Default "probabilities". */
  readonly stage?: ScoreStage;
}

/**
 * Computes the L × S score matrix that `attention` never forms, for pictures and debugging. Raw and softcapped scores cover all keys,
 * including those that lengths, causality or masks hide later.
 *
 * @param q - queries [B, Hq, L, E]; fewer leading dimensions are fine; f32
 * @param k - keys [B, Hkv, S, E]
 * @param options - the options of `attention` that affect scores, and `stage`
 * @returns [B, Hq, L, S] (heads before length in both layouts), without the dimensions that q lacks
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for head
 *   dimensions above 1024, DisposedError if a tensor has been disposed, BackendError if memory runs out
 *
 * @example
 * ```ts
 * const q = tensor(new Float32Array([1, 0, 0, 1]), [2, 2]);
 * attentionScores(q, q, { stage: "raw", scale: 1 }).data; // [1, 0, 0, 1]
 * ```
 */
export function attentionScores(q: TensorLike, k: TensorLike, options?: AttentionScoresOptions): Tensor<"f32"> {
  return compute(defaultRuntime(), planScores, parseAttentionScores(q, k, options));
}

/** Checks the arguments of attentionScores. @internal */
export function parseAttentionScores(q: unknown, k: unknown, options: AttentionScoresOptions = {}): ScoresCall {
  checkScoresOptions(options);
  const stage = parseChoice<ScoreStage>("stage", options.stage, ["probabilities", "raw", "softcapped", "masked"]);
  const { sizes, layout: _, ...call } = parseScores(parseHeads("q", q), parseHeads("k", k), undefined, options);
  const result = { shape: headsFirst(sizes, call.keyLength), dtype: "f32" as const, out: undefined };
  return { ...call, kind: "scores", op: "attentionScores", stage, results: { out: result } };
}
