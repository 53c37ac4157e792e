import { type AttentionCall, type Sequence, headStrides } from "../../../calls/attention-call.ts";
import { CHUNK_KEYS, usesDecode } from "../../../calls/blocks.ts";
import { visibleKeys } from "../../../calls/key-range.ts";
import { contiguousStrides } from "../../../tensor/shape.ts";
import { storageOf } from "../device/traits.ts";
import { ATTENTION_UNIFORMS, type AttentionKey, BLOCK_WORDS, SLICE, attentionKey, attentionProgram } from "../kernels/attention.ts";
import { CHUNK_UNIFORMS, MERGED_COLUMNS, MERGE_CHUNKS } from "../kernels/merge.ts";
import { LSE, SEQUENCE_WORDS, type Words, pushSequence } from "../kernels/score-modifiers.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";
import { AttentionOperands, type Binding, type RowSlice, allBound, rowExtent, startOf } from "./attention-operands.ts";
import { type Part, cutParts, gridOf, mostRows } from "./parts.ts";

/**
 * Most bytes of scratch for the outputs of chunks. Consecutive parts share it, and a part that needs more is split if it can be. Enough for
 * some thousand workgroups, which fill a GPU.
 */
const CHUNK_BYTES = 64 * 1024 * 1024;

/** What a dispatch binds: the operands and where the results go. */
type Bound = Record<"q" | "k" | "v" | "bias" | "mask" | "out" | "lse", Binding>;

interface Dispatch {
  readonly part: Part;
  readonly bound: Bound;
  readonly decode: boolean;
  /** Where the states of chunks begin, by sequence, and how many there are; `undefined` if every sequence has one chunk. */
  readonly states: ChunkStates | undefined;
}

/** Chunk states, by [sequence, chunk, head, row]. */
export interface ChunkStates {
  readonly starts: ReadonlyMap<Sequence, number>;
  readonly count: number;
  /** Rows of each head: as many as the longest sequence has. */
  readonly rows: number;
}

/**
 * Records attention. `out` receives the outputs, row-major in the call's layout, and `lse` the log-sum-exps if the call returns them.
 *
 * @throws TooLargeError if the keys of one head, or a block of its rows, are too large for this GPU; nothing is recorded then
 */
export function recordAttention(recorder: Recorder, call: AttentionCall, { out, lse }: { readonly out: Slice; readonly lse?: Slice | undefined }): void {
  new AttentionRecorder(recorder, call, out, lse).record();
}

class AttentionRecorder {
  readonly #recorder: Recorder;
  readonly #call: AttentionCall;
  readonly #operands: AttentionOperands;
  readonly #out: RowSlice;
  readonly #lse: RowSlice | undefined;
  /** Stands in for log-sum-exps that the call does not return. */
  #unwanted: Slice | undefined;

  constructor(recorder: Recorder, call: AttentionCall, out: Slice, lse: Slice | undefined) {
    const { layout, results, lseStrides, valueDim } = call;
    const common = { bytesPerElement: 4, last: 1, group: 1 } as const;
    this.#recorder = recorder;
    this.#call = call;
    this.#operands = new AttentionOperands(recorder, call);
    this.#out = { slice: out, ...headStrides(contiguousStrides(results.out.shape), layout), ...common, extent: rowExtent(valueDim) };
    this.#lse = lse && { slice: lse, ...lseStrides, ...common, extent: rowExtent(1) };
  }

  record(): void {
    const { sequences, heads } = this.#call;
    const recorder = this.#recorder;
    const used = sequences.filter(({ rows }) => rows > 0);
    const plan = (decode: boolean): Dispatch[] =>
      this.#plan({ sequences: used.filter((s) => usesDecode(this.#call, s) === decode), firstHead: 0, heads }, decode);
    const dispatches = [...plan(true), ...plan(false)];
    const most = dispatches.reduce((count, { states }) => Math.max(count, states?.count ?? 0), 0);
    const scratch = most === 0 ? undefined : { outs: recorder.scratch(most * this.#call.valueDim * 4), lses: recorder.scratch(most * 4) };
    // Tables are uploaded together, so all of them are filled before the first dispatch is recorded.
    const runs = dispatches.flatMap((dispatch) => this.#prepare(dispatch, scratch));
    const tables = this.#operands.tables.upload(recorder);
    for (const run of runs) run(tables);
  }

  #plan(whole: Part, decode: boolean): Dispatch[] {
    const granularity = decode ? this.#operands.group : 1;
    const statesOf = (part: Part): ChunkStates | undefined => (decode ? chunkStates(part, (s) => this.#chunks(s).count) : undefined);
    const isMuch = (part: Part): boolean =>
      (statesOf(part)?.count ?? 0) * this.#call.valueDim * 4 > CHUNK_BYTES || this.#operands.flops(part) > this.#recorder.traits.submissionFlops;
    return cutParts(whole, granularity, isMuch, (part) => {
      const bound = this.#operands.bind(part);
      return bound && allBound({ ...bound, out: this.#operands.bindOne(this.#out, part), lse: this.#bindLse(part) });
    }).map(({ part, bound }) => ({ part, bound, decode, states: statesOf(part) }));
  }

  #bindLse(part: Part): Binding | undefined {
    if (this.#lse === undefined) return { slice: (this.#unwanted ??= this.#recorder.scratch(4)), base: 0 };
    return this.#operands.bindOne(this.#lse, part);
  }

  /** The chunks that any row of a sequence sees. If there are none, still one, to record that nothing was seen. */
  #chunks(sequence: Sequence): { readonly first: number; readonly count: number } {
    const { low, count } = visibleKeys(sequence, this.#call.rule);
    const first = Math.floor(low / CHUNK_KEYS.webgpu);
    return { first, count: Math.max(1, Math.ceil((low + count) / CHUNK_KEYS.webgpu) - first) };
  }

  /** Adds what a dispatch needs to the tables. Returns functions that record the dispatch and the merge of its chunks. */
  #prepare(dispatch: Dispatch, scratch: { readonly outs: Slice; readonly lses: Slice } | undefined): ((tables: Slice) => void)[] {
    const { part, bound, states } = dispatch;
    if (states === undefined || scratch === undefined) return [this.#attend(dispatch, { out: this.#out, lse: this.#lse, bound, perChunk: 0 })];
    const { valueDim } = this.#call;
    const { starts, count, rows } = states;
    // Kernels count heads from the first one of the call.
    const extent = (s: Sequence) => ({ start: (starts.get(s) ?? 0) - part.firstHead * rows, rows, width: 1 });
    const statesIn = (slice: Slice, width: number): RowSlice & Binding => {
      const layout = { batch: 0, head: rows * width, row: width, last: 1, group: 1, extent };
      return { ...layout, slice: { ...slice, byteLength: count * width * 4 }, bytesPerElement: 4, base: 0 };
    };
    const [out, lse] = [statesIn(scratch.outs, valueDim), statesIn(scratch.lses, 1)];
    return [this.#attend(dispatch, { out, lse, bound: { out, lse }, perChunk: part.heads * rows }), this.#merge(dispatch, states, out.slice, lse.slice)];
  }

  #attend({ part, bound, decode }: Dispatch, { out, lse, bound: to, perChunk }: Results): (tables: Slice) => void {
    const recorder = this.#recorder;
    const operands = this.#operands;
    const { tables, group } = operands;
    const { operands: given, valueDim } = this.#call;
    const key = attentionKey(decode ? "decode" : "prefill", storageOf(given.q.data.dtype, recorder.traits), recorder.traits);
    const recordsAt = tables.length;
    for (const s of part.sequences) {
      const results = { out: startOf(out, to.out, s), lse: startOf(lse, to.lse, s), chunk: decode ? this.#chunks(s).first : 0 };
      pushSequence(tables, { ...operands.record(s, bound), ...results });
    }
    const blocksAt = tables.length;
    pushBlocks(tables, part.sequences, recordsAt, key, decode ? group : 1, (s) => (decode ? this.#chunks(s).count : 1));
    const blocks = (tables.length - blocksAt) / BLOCK_WORDS;
    const heads = decode ? part.heads / group : part.heads;
    const workgroups = blocks * heads * Math.max(1, Math.ceil(valueDim / SLICE));
    const grid = gridOf(workgroups, recorder);
    const { flags, ...uniforms } = operands.uniforms();
    const packed = ATTENTION_UNIFORMS.pack({
      ...uniforms,
      flags: flags | (lse === undefined ? 0 : LSE),
      valueDim,
      vHead: operands.slices.v.head,
      vRow: operands.slices.v.row,
      outHead: out.head,
      outRow: out.row,
      outChunk: perChunk * valueDim,
      lseHead: lse?.head ?? 0,
      lseRow: lse?.row ?? 0,
      lseChunk: perChunk,
      blocksAt,
      blocks,
      firstHead: decode ? part.firstHead / group : part.firstHead,
      heads,
      gridX: grid[0],
      workgroups,
    });
    const { q, k, v, bias, mask } = bound;
    const slices = [q, k, v, bias, mask].map(({ slice }) => slice);
    const flops = operands.flops(part);
    return (words) => recorder.run(attentionProgram(key), packed, [...slices, words, to.out.slice, to.lse.slice], grid, flops);
  }

  #merge({ part, bound }: Dispatch, { starts, rows }: ChunkStates, outs: Slice, lses: Slice): (tables: Slice) => void {
    const recorder = this.#recorder;
    const [out, lse] = [this.#out, this.#lse];
    const { tables } = this.#operands;
    const sequencesAt = tables.length;
    for (const s of part.sequences) {
      const { first, count } = this.#chunks(s);
      const at = (rows: RowSlice | undefined, binding: Binding): number => (startOf(rows, binding, s) + part.firstHead * (rows?.head ?? 0)) >>> 0;
      tables.push(at(out, bound.out), at(lse, bound.lse), starts.get(s) ?? 0, s.rows, first, count);
    }
    const columns = this.#call.valueDim;
    const columnBlocks = Math.max(1, Math.ceil(columns / MERGED_COLUMNS));
    const workgroups = part.sequences.length * part.heads * rows * columnBlocks;
    const grid = gridOf(workgroups, recorder);
    const packed = CHUNK_UNIFORMS.pack({
      columns,
      columnBlocks,
      rows,
      heads: part.heads,
      sequencesAt,
      outHead: out.head,
      outRow: out.row,
      lseHead: lse?.head ?? 0,
      lseRow: lse?.row ?? 0,
      wantsLse: lse === undefined ? 0 : 1,
      gridX: grid[0],
      workgroups,
    });
    return (words) => recorder.run(MERGE_CHUNKS, packed, [outs, lses, words, bound.out.slice, bound.lse.slice], grid);
  }
}

/** Where a dispatch of the attention kernel writes its results. */
interface Results {
  readonly out: RowSlice;
  readonly lse: RowSlice | undefined;
  readonly bound: Readonly<Record<"out" | "lse", Binding>>;
  /** Rows of a chunk; 0 if every sequence has one chunk. */
  readonly perChunk: number;
}

/** Where the chunks of a part write their states; `undefined` if none of its sequences has more than one. */
export function chunkStates(part: Part, chunksOf: (s: Sequence) => number): ChunkStates | undefined {
  const starts = new Map<Sequence, number>();
  const rows = mostRows(part);
  let chunks = 0;
  for (const s of part.sequences) {
    starts.set(s, chunks * part.heads * rows);
    chunks += chunksOf(s);
  }
  return chunks === part.sequences.length ? undefined : { starts, count: chunks * part.heads * rows, rows };
}

/**
 * Appends a list of blocks: the sequence's record, the block's first row, and which of the sequence's chunks. The last rows of a sequence
 * come first: under a causal mask they take longest, and long work should not start last.
 */
export function pushBlocks(
  tables: Words,
  sequences: readonly Sequence[],
  recordsAt: number,
  { rows }: AttentionKey,
  heads: number,
  chunksOf: (s: Sequence) => number,
): void {
  sequences.forEach((s, i) => {
    const chunks = chunksOf(s);
    for (let block = Math.ceil((s.rows * heads) / rows) - 1; block >= 0; block--) {
      for (let chunk = 0; chunk < chunks; chunk++) tables.push(recordsAt + i * SEQUENCE_WORDS, block * rows, chunk);
    }
  });
}
