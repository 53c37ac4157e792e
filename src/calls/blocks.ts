import type { ScoreCall, Sequence } from "./attention-call.ts";

// How attention is cut, the same on every backend: what a row's bits depend on.

/** Query rows of a block, and keys of a tile. */
export const BLOCK_ROWS = 64;
export const TILE_KEYS = 64;

/** Keys after which the state of a decode block is merged into a total, by backend. Chunks begin at multiples of it, however many threads there are. */
export const CHUNK_KEYS = { wasm: 1024, webgpu: 128 } as const;

/** The most rows, those of all heads that share a key/value head, that are computed in one go: beyond it a call is prefill. */
export const DECODE_ROWS = 64;

/**
 * Whether the queries of all heads that share a key/value head are computed together (decode: every key is read once for all of
 * them, in chunks of constant size that merge) or each head has blocks of its own (prefill).
 */
export function usesDecode(call: Pick<ScoreCall, "heads" | "kvHeads" | "blockMask">, sequence: Pick<Sequence, "rows">): boolean {
  return sequence.rows * (call.heads / call.kvHeads) <= DECODE_ROWS && call.blockMask === undefined;
}
