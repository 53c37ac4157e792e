import { ATTENTION } from "../module/attention-family.ts";
import { type AttentionCall, headStrides } from "../../../calls/attention-call.ts";
import { visibleKeys } from "../../../calls/key-range.ts";
import { usesDecode } from "../../../calls/blocks.ts";
import { attentionBlocks, attentionKernel, blockSizes } from "./attention-blocks.ts";
import { FIRST, LAST, RESTART, blockScratchBytes, stateBytes, stateIn } from "./attention-layout.ts";
import { BlockRows } from "./operand-rows.ts";
import { PART_KEYS, type Part, planBlocks } from "./attention-stages.ts";
import { type KernelCall, Layout, type Planner } from "./plan.ts";
import { MULTIPLY_ADD_NS, cutsKeys, keyChunks } from "./schedule.ts";

/** Which arguments of kernels are scratch: the last of `attention_block_f32` and `attention_rows_f32`, state and total of `attention_merge_f32`. */
const BLOCK_SCRATCH = 1 << 4;
const MERGE_STATE = 1 << 1;
const MERGE_TOTAL = 1 << 2;

/**
 * Plans attention. Decode blocks are computed in chunks of keys, whose states merge in ascending order. The chunks run one after the
 * other, or each in its own task if there are too few blocks for all threads.
 */
export const planAttention: Planner<AttentionCall> = (call, outputs, machine) => {
  const { out, lse } = outputs;
  if (out === undefined) throw new Error("attention has a result");
  const { dim, valueDim, rule } = call;
  const outStrides = headStrides(out.strides, call.layout);
  const outRows = new BlockRows(machine.memory, out.data, outStrides, outStrides.dim);
  const lseRows = lse && new BlockRows(machine.memory, lse.data, call.lseStrides, 1);

  const { count: blockCount, prefill, decode } = blockSizes(call);
  const sizes = [prefill, decode];
  let longest = 0;
  let chunks = 0;
  for (const sequence of call.sequences) {
    const { low, count } = visibleKeys(sequence, rule);
    longest = Math.max(longest, count);
    if (usesDecode(call, sequence)) chunks = Math.max(chunks, chunkIndex(low, low + count - 1) + 1);
  }
  const cuts = chunks > 1 && cutsKeys(blockCount, machine.threads, machine.tuning);
  const states = decode.queries === 0 ? 0 : stateBytes(decode.heads * decode.queries, valueDim);
  const layout = new Layout();
  const outAt = layout.take(outRows.roomFor(sizes, valueDim));
  const lseAt = layout.take(lseRows?.roomFor(sizes, 1) ?? 0);
  const statesAt = layout.take(cuts ? chunks * states : 0);

  const totalAt = blockScratchBytes(dim, valueDim);
  const blockCall = (
    { block, description, scratch, relative }: Pick<Part, "block" | "description" | "scratch" | "relative">,
    from: number,
    to: number,
    mode: number,
  ): KernelCall => ({
    kernel: attentionKernel(call, block.sequence),
    args: [description, from, to, mode, scratch],
    relative: relative ? BLOCK_SCRATCH : 0,
  });
  const merge = (description: number, state: number, total: number, mode: number, relative: number): KernelCall => ({
    kernel: "attention_merge_f32",
    args: [description, state, total, mode],
    relative,
  });

  return planBlocks(
    call,
    {
      families: [ATTENTION],
      blockCount,
      sizes,
      blocks: () => attentionBlocks(call),
      longest,
      scratchBytes: totalAt + states,
      resultBytes: layout.bytes,
      resultBytesPerKey: 0,
      results: ({ block, results }) => ({
        out: outRows.places(block, results + outAt, valueDim, 0),
        lse: lseRows?.places(block, results + lseAt, 1, 0),
      }),
      calls: (part) => {
        const { block, from, to, first, last, description, scratch, relative } = part;
        const ends = (first ? FIRST : 0) | (last ? LAST : 0);
        if (!block.decode || chunkIndex(block.low, block.high - 1) < 1) return [blockCall(part, from, to, ends)];
        return keyChunks(from, to).flatMap((chunk) => {
          const mode = (chunk.from === from ? ends & FIRST : 0) | (chunk.to === to ? ends & LAST : 0);
          return [
            blockCall(part, chunk.from, chunk.to, (mode & FIRST) | RESTART),
            merge(description, stateIn(scratch, dim), scratch + totalAt, mode, relative ? MERGE_STATE | MERGE_TOTAL : 0),
          ];
        });
      },
      cut: ({ block, from, to, last, description, results }) => {
        const count = chunkIndex(block.low, block.high - 1) + 1;
        if (!cuts || !block.decode || count < 2) return undefined;
        const stateOf = (chunk: number): number => results + statesAt + chunk * states;
        return {
          calls: keyChunks(from, to).map((chunk) => [
            blockCall({ block, description, scratch: 0, relative: true }, chunk.from, chunk.to, FIRST),
            merge(description, stateIn(0, dim), stateOf(chunkIndex(block.low, chunk.from)), FIRST, MERGE_STATE),
          ]),
          group: last
            ? { calls: Array.from({ length: count - 1 }, (_, c) => merge(description, stateOf(c + 1), stateOf(0), c + 2 === count ? LAST : 0, 0)) }
            : undefined,
        };
      },
      copyOut: ({ block, results, last }, copies) => {
        if (last && !outRows.inPlace) copies.push(outRows.copyOut(block, results + outAt, valueDim, 0));
        if (last && lseRows?.inPlace === false) copies.push(lseRows.copyOut(block, results + lseAt, 1, 0));
      },
      costNs: ({ block, from, to }) => Math.ceil((block.heads * block.queries) / 4) * 4 * (to - from) * (dim + valueDim) * MULTIPLY_ADD_NS,
    },
    machine,
  );
};

/** The number of the chunk that contains `key`, in a block that sees keys from `low` on. */
function chunkIndex(low: number, key: number): number {
  return Math.floor(key / PART_KEYS) - Math.floor(low / PART_KEYS);
}
