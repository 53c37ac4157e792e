import type { ScoreCall } from "./attention-call.ts";

/**
 * How far a score is taken: `"raw"` scale·q·k, `"softcapped"`, `"masked"` with ALiBi, bias and −inf where nothing is seen, or
 * `"probabilities"`, which sum to one with the sink and are 0 in rows that see nothing.
 */
export type ScoreStage = "raw" | "softcapped" | "masked" | "probabilities";

/** A checked call of attentionScores, the same for every backend. */
export interface ScoresCall extends ScoreCall {
  readonly stage: ScoreStage;
  /** Keys per row of the result, whatever the lengths in use. */
  readonly keyLength: number;
  readonly shape: readonly number[];
}
