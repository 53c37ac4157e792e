import { ATTENTION } from "../module/attention-family.ts";
import { ROWS } from "../module/rows-family.ts";
import type { ScoreCall } from "../../../calls/attention-call.ts";
import { BLOCK_ROWS } from "../../../calls/blocks.ts";
import type { ScoresCall } from "../../../calls/scores-call.ts";
import { BLOCK_ELEMENTS, STATE_BYTES } from "../module/kernels.ts";
import type { Block } from "./attention-blocks.ts";
import { GROUP_ROWS, STAGE_MASKED, STAGE_RAW, STAGE_SOFTCAPPED, blockScratchBytes } from "./attention-layout.ts";
import { BlockRows } from "./operand-rows.ts";
import { planBlocks } from "./attention-stages.ts";
import { type KernelCall, Layout, type Planner } from "./plan.ts";
import { MULTIPLY_ADD_NS } from "./schedule.ts";

/** How far the kernel computes a score for each stage. */
const KERNEL_STAGE = { raw: STAGE_RAW, softcapped: STAGE_SOFTCAPPED, masked: STAGE_MASKED, probabilities: STAGE_MASKED } as const;

/** Which arguments of kernels are scratch: the last of `attention_scores_f32`, the seventh of row kernels. */
const SCORES_SCRATCH = 1 << 4;
const ROW_SCRATCH = 1 << 6;

/** Plans the matrix of scores. Probabilities are an in-place softmax of the masked scores, from which the sink then takes its share. */
export const planScores: Planner<ScoresCall> = (call, { out }, machine) => {
  if (out === undefined) throw new Error("scores have a result");
  const { stage, keyLength, heads, dim, sequences, sinks } = call;
  const [rowStride = 1, keyStride = 1] = out.strides.slice(-2);
  const [batchStride = 0, headStride = 0] = [...new Array<number>(4 - out.strides.length).fill(0), ...out.strides];
  const outRows = new BlockRows(machine.memory, out.data, { batch: batchStride, head: headStride, row: rowStride }, keyStride);

  const wholeRows = stage === "probabilities";
  const rows = Math.max(1, ...sequences.map((sequence) => sequence.rows));
  const fitting = wholeRows && !outRows.inPlace ? machine.stageBytes / (keyLength * 4) : BLOCK_ROWS;
  // A power of two, so that no block begins in one tile and ends in the next.
  const blockRows = 2 ** Math.floor(Math.log2(Math.min(Math.max(fitting, GROUP_ROWS), BLOCK_ROWS)));
  const sizes = [{ heads: 1, queries: Math.min(rows, blockRows) }];

  const layout = new Layout();
  const lseAt = layout.take(sinks === undefined ? 0 : blockRows * 4);
  const scoresAt = layout.take(wholeRows ? outRows.roomFor(sizes, keyLength) : 0);

  return planBlocks(
    call,
    {
      families: [ATTENTION, ROWS],
      blockCount: heads * sequences.reduce((n, sequence) => n + Math.ceil(sequence.rows / blockRows), 0),
      sizes,
      blocks: () => scoreBlocks(call, keyLength, blockRows),
      longest: keyLength,
      scratchBytes: Math.max(blockScratchBytes(dim, 0), STATE_BYTES, Math.ceil(keyLength / BLOCK_ELEMENTS) * 4),
      resultBytes: layout.bytes,
      resultBytesPerKey: wholeRows ? 0 : outRows.roomFor(sizes, 1),
      results: ({ block, results, from, to }) => {
        const out = wholeRows ? outRows.places(block, results + scoresAt, keyLength, 0) : outRows.places(block, results + scoresAt, to - from, from);
        return { out, lse: undefined };
      },
      calls: ({ block, from, to, last, description, results, scratch, relative }) => {
        const calls: KernelCall[] = [
          {
            kernel: "attention_scores_f32",
            args: [description, from, to, KERNEL_STAGE[stage], scratch],
            relative: relative ? SCORES_SCRATCH : 0,
          },
        ];
        if (!last || !wholeRows || keyLength === 0) return calls;
        const { first, query: stride } = outRows.places(block, results + scoresAt, keyLength, 0);
        const sink = sinks?.[block.head] ?? -Infinity;
        const rowCall = (kernel: "log_sum_exp_f32" | "softmax_online_f32", y: number, yStride: number): KernelCall => ({
          kernel,
          args: [first, y, block.queries, keyLength, stride, yStride, scratch, 1],
          relative: relative ? ROW_SCRATCH : 0,
        });
        if (sink !== -Infinity) calls.push(rowCall("log_sum_exp_f32", results + lseAt, 4));
        calls.push(rowCall("softmax_online_f32", first, stride));
        if (sink !== -Infinity) calls.push({ kernel: "sink_share_f32", args: [first, block.queries, keyLength, stride, results + lseAt, sink], relative: 0 });
        return calls;
      },
      cut: () => undefined,
      copyOut: ({ block, results, from, to, last }, copies) => {
        if (outRows.inPlace || (wholeRows && !last)) return;
        copies.push(wholeRows ? outRows.copyOut(block, results + scoresAt, keyLength, 0) : outRows.copyOut(block, results + scoresAt, to - from, from));
      },
      costNs: ({ block, from, to }) => block.queries * (to - from) * dim * MULTIPLY_ADD_NS,
    },
    machine,
  );
};

/** Blocks of each head's queries. They look at all keys, whatever the lengths in use. */
function* scoreBlocks(call: ScoreCall, keyLength: number, blockRows: number): Generator<Block, undefined> {
  const group = call.heads / call.kvHeads;
  const span = { low: 0, count: keyLength };
  for (const sequence of call.sequences) {
    for (let head = 0; head < call.heads; head++) {
      for (let query = 0; query < sequence.rows; query += blockRows) {
        const queries = Math.min(blockRows, sequence.rows - query);
        yield { sequence, kvHead: Math.floor(head / group), head, heads: 1, query, queries, decode: false, low: 0, high: keyLength, span };
      }
    }
  }
}
