import type { ScoreCall, Sequence } from "../../../calls/attention-call.ts";
import { BLOCK_ROWS, usesDecode } from "../../../calls/blocks.ts";
import { keyRange, visibleKeys } from "../../../calls/key-range.ts";
import { GROUP_ROWS, ROW_HIGH, ROW_LOW, ROW_POSITION, ROW_SINK, ROW_SLOPE, entryOf } from "./attention-layout.ts";

/** Some queries of some heads of a sequence: `queries` queries from `query` on, of each of `heads` heads from `head` on. */
export interface RowBox {
  readonly sequence: Pick<Sequence, "batch" | "queryStart">;
  readonly head: number;
  readonly heads: number;
  readonly query: number;
  readonly queries: number;
}

/** Rows that are computed together: some queries of one head (prefill), or of all heads that share a key/value head (decode). */
export interface Block extends RowBox {
  readonly sequence: Sequence;
  readonly kvHead: number;
  readonly decode: boolean;
  /** The keys that the block looks at, `low` … `high`. */
  readonly low: number;
  readonly high: number;
  /** The keys that any block of the sequence looks at. */
  readonly span: KeySpan;
}

/** `count` keys, from `low` on. */
export interface KeySpan {
  readonly low: number;
  readonly count: number;
}

/** How many rows a block has: `queries` queries of each of `heads` heads. */
export type BlockSize = Pick<RowBox, "heads" | "queries">;

/**
 * The kernel that computes a sequence's blocks: with fewer rows than a group has, the one whose vectors are pieces of keys. As bits
 * depend on it, only the shapes of a call decide, and all blocks of a sequence have the same.
 */
export function attentionKernel(call: ScoreCall, sequence: Sequence): "attention_block_f32" | "attention_rows_f32" {
  return headsPerBlock(call, sequence) * sequence.rows < GROUP_ROWS ? "attention_rows_f32" : "attention_block_f32";
}

/** All heads that share a key/value head in decode, one in prefill. */
function headsPerBlock(call: ScoreCall, sequence: Sequence): number {
  return usesDecode(call, sequence) ? call.heads / call.kvHeads : 1;
}

/** The blocks of attention, in order. */
export function* attentionBlocks(call: ScoreCall): Generator<Block, undefined> {
  const { kvHeads, rule } = call;
  const group = call.heads / kvHeads;
  for (const sequence of call.sequences) {
    const { rows, queryLength, keyLength, offset } = sequence;
    const decode = usesDecode(call, sequence);
    const heads = headsPerBlock(call, sequence);
    const span = visibleKeys(sequence, rule);
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      for (let head = kvHead * group; head < (kvHead + 1) * group; head += heads) {
        for (let query = 0; query < rows; query += BLOCK_ROWS) {
          const queries = Math.min(BLOCK_ROWS, rows - query);
          const used = Math.min(queries, queryLength - query);
          const { low, count } = visibleKeys({ offset: offset + query, queryLength: used, keyLength }, rule);
          yield { sequence, kvHead, head, heads, query, queries, decode, low, high: low + count, span };
        }
      }
    }
  }
}

/** How many blocks `attentionBlocks` yields, and the largest size of each kind. */
export function blockSizes(call: ScoreCall): { readonly count: number; readonly prefill: BlockSize; readonly decode: BlockSize } {
  const { heads, kvHeads } = call;
  let count = 0;
  const most = { prefill: 0, decode: 0 };
  for (const sequence of call.sequences) {
    const { rows } = sequence;
    const kind = usesDecode(call, sequence) ? "decode" : "prefill";
    if (rows > 0) count += kind === "decode" ? kvHeads : heads * Math.ceil(rows / BLOCK_ROWS);
    most[kind] = Math.max(most[kind], Math.min(rows, BLOCK_ROWS));
  }
  return { count, prefill: { heads: 1, queries: most.prefill }, decode: { heads: heads / kvHeads, queries: most.decode } };
}

/** Where the rows of a block have some data: the first row's place, and the distances between heads and between queries. */
export interface RowPlaces {
  readonly first: number;
  readonly head: number;
  readonly query: number;
}

/** Writes a column of a row table. Lanes without a row get the first row's place, which is safe to read. */
export function fillColumn(words: Int32Array, column: number, { heads, queries }: BlockSize, { first, head, query }: RowPlaces): void {
  let r = 0;
  for (let h = 0; h < heads; h++) for (let i = 0; i < queries; i++, r++) words[entryOf(column, r)] = first + h * head + i * query;
  for (; r % GROUP_ROWS !== 0; r++) words[entryOf(column, r)] = first;
}

/** Writes the keys, positions and modifiers in the row table of the description at `start`. Lanes without a row stay 0: they see nothing. */
export function fillRanges(words: Int32Array, floats: Float32Array, start: number, call: ScoreCall, { sequence, head, heads, query, queries }: Block): void {
  const { rule, slopes, sinks } = call;
  const { offset, queryLength, keyLength } = sequence;
  let r = 0;
  for (let h = head; h < head + heads; h++) {
    const slope = slopes?.[h] ?? 0;
    const sink = sinks?.[h] ?? -Infinity;
    for (let i = query; i < query + queries; i++, r++) {
      const entry = entryOf(start, r);
      const used = i < queryLength;
      if (used) {
        const [low, high] = keyRange(i + offset, keyLength, rule);
        words[entry + ROW_LOW] = low;
        words[entry + ROW_HIGH] = high;
      }
      floats[entry + ROW_POSITION] = i + offset;
      floats[entry + ROW_SLOPE] = slope;
      // A row beyond its batch's queries is unused, so it has no sink either.
      floats[entry + ROW_SINK] = used ? sink : -Infinity;
    }
  }
}
