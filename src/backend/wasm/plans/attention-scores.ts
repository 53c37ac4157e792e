import { BLOCK_ROWS } from "../../../calls/blocks.ts";
import type { HostScoreCall } from "../../../calls/attention-call.ts";
import type { Row } from "./attention-blocks.ts";
import { BlockOperands, STAGED_KEYS, copyOut, holdCall } from "./attention-operands.ts";
import { ATTENTION } from "../module/attention-family.ts";
import type { Runtime } from "../module/runtime.ts";

/** How far `runScores` takes a score, as the kernel numbers it. */
export const STAGE_RAW = 0;
export const STAGE_SOFTCAPPED = 1;
export const STAGE_MASKED = 2;

/** Writes the scores of all queries and keys to `out` [B, Hq, L, S], `keyLength` keys per row whatever the lengths in use. */
export function runScores(runtime: Runtime, call: HostScoreCall, keyLength: number, stage: number, out: Float32Array): void {
  const { memory } = runtime;
  const kernels = runtime.load(ATTENTION);
  const group = call.heads / call.kvHeads;
  const mark = memory.mark();
  try {
    const held = holdCall(memory, call);
    const scores = memory.take(BLOCK_ROWS * STAGED_KEYS * 4);
    const operands = new BlockOperands(runtime, held, () => ({ low: 0, count: keyLength }));
    for (const sequence of call.sequences) {
      for (let head = 0; head < call.heads; head++) {
        const keys = operands.keys(sequence, Math.floor(head / group));
        for (let first = 0; first < sequence.rows; first += BLOCK_ROWS) {
          const rows = Array.from({ length: Math.min(BLOCK_ROWS, sequence.rows - first) }, (_, r): Row => ({ head, query: first + r }));
          operands.describe(sequence, rows);
          for (let from = 0; from < keyLength; from += STAGED_KEYS) {
            const to = Math.min(from + STAGED_KEYS, keyLength);
            if (operands.staged) operands.stage(sequence, rows, from, to);
            rows.forEach((_, r) => {
              operands.setResult(r, scores + (r * STAGED_KEYS - from) * 4, 0);
            });
            kernels.attention_scores_f32(
              operands.table,
              rows.length,
              keys.address,
              keys.stride,
              from,
              to,
              call.dim,
              call.scale,
              call.softcap,
              operands.tilesFrom(from),
              operands.scratch,
              stage,
              operands.flags,
            );
            rows.forEach(({ query }, r) => {
              const row = (sequence.batch * call.heads + head) * sequence.rows + query;
              copyOut(memory.f32, scores / 4 + r * STAGED_KEYS, out, row * keyLength + from, 1, to - from);
            });
          }
        }
      }
    }
  } finally {
    memory.release(mark);
  }
}
