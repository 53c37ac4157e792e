import type { ScoreCall } from "./attention-call.ts";
import type { Result } from "./call.ts";

/**
 * How far scores are computed: `"raw"` is scale·q·k, `"softcapped"` follows softcap, `"masked"` follows ALiBi, bias and −inf for
 * hidden keys. `"probabilities"` sum to one together with the sink, and are 0 in rows that see nothing.
 */
export type ScoreStage = "raw" | "softcapped" | "masked" | "probabilities";

/** A checked call of attentionScores. */
export interface ScoresCall extends ScoreCall {
  readonly kind: "scores";
  readonly op: "attentionScores";
  readonly stage: ScoreStage;
  /** Keys per row of the result, whatever the lengths in use. */
  readonly keyLength: number;
  readonly results: { readonly out: Result };
}
