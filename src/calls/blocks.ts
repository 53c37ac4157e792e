import type { ScoreCall, Sequence } from "./attention-call.ts";

// How attention is divided, the same on every backend. A row's bits depend on it.

/** Query rows per block, and keys per tile. */
export const BLOCK_ROWS = 64;
export const TILE_KEYS = 64;

/** After this many keys (by backend) a decode block's state is merged into a total. Chunks begin at multiples of it, whatever the number of threads. */
export const CHUNK_KEYS = { wasm: 1024, webgpu: 128 } as const;

/** The most rows, over all heads that share a key/value head, that are computed together. With more rows a call is prefill. */
export const DECODE_ROWS = 64;

/**
 * Whether the queries of all heads that share a key/value head are computed together (decode: each key is read once for all of
 * them, in chunks of constant size that merge), or each head has its own blocks (prefill).
 */
export function usesDecode(call: Pick<ScoreCall, "heads" | "kvHeads" | "blockMask">, sequence: Pick<Sequence, "rows">): boolean {
  return sequence.rows * (call.heads / call.kvHeads) <= DECODE_ROWS && call.blockMask === undefined;
}
