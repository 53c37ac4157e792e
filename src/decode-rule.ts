import type { ScoreCall, Sequence } from "./attention-call.ts";

/** The most rows, those of all heads that share a key/value head, that are computed in one go: behind it a call is prefill. */
export const DECODE_ROWS = 64;

/**
 * Whether the queries of all heads that share a key/value head are computed together (decode: every key is read once for all of
 * them, in chunks of constant size that merge) or each head has blocks of its own (prefill). The same on every backend.
 */
export function usesDecode(call: Pick<ScoreCall, "heads" | "kvHeads" | "blockMask">, sequence: Pick<Sequence, "rows">): boolean {
  return sequence.rows * (call.heads / call.kvHeads) <= DECODE_ROWS && call.blockMask === undefined;
}
