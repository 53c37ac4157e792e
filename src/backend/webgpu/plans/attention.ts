import { CHUNK_KEYS, usesDecode } from "../../../calls/blocks.ts";
import { type AttentionCall, type Sequence, outputStrides } from "../../../calls/attention-call.ts";
import { visibleKeys } from "../../../calls/key-range.ts";
import { AttentionOperands, type Binding, type Operand, type Part, allBound, cutParts, gridOf, mostRows } from "./attention-operands.ts";
import { ATTENTION_UNIFORMS, type AttentionKey, BLOCK_WORDS, SLICE, attentionKey, attentionProgram } from "../kernels/attention.ts";
import { CHUNK_UNIFORMS, MERGED_COLUMNS, MERGE_CHUNKS } from "../kernels/merge.ts";
import { LSE, SEQUENCE_WORDS, type Words, pushSequence } from "../kernels/score-modifiers.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";
import { storageOf } from "../device/traits.ts";

/**
 * Bytes of scratch that the outputs of chunks may take: parts that follow each other share it, and what needs more is cut, where it
 * can be. Enough for some thousand workgroups, which is what fills a GPU.
 */
const CHUNK_BYTES = 64 * 1024 * 1024;

/** What a dispatch binds: the operands and where the results go. */
type Bound = Record<"q" | "k" | "v" | "bias" | "mask" | "out" | "lse", Binding>;

interface Dispatch {
  readonly part: Part;
  readonly bound: Bound;
  readonly decode: boolean;
  /** Where the states of chunks begin, by sequence, and how many there are; undefined where every sequence has one chunk. */
  readonly states: ChunkStates | undefined;
}

/** States of chunks by [sequence, chunk, head, row]. */
export interface ChunkStates {
  readonly starts: ReadonlyMap<Sequence, number>;
  readonly count: number;
  /** Rows of each head, as many as the longest sequence has. */
  readonly rows: number;
}

/**
 * Records attention. `out` takes the outputs, row-major in the call's layout, and `lse` the log-sum-exps, if anyone wants them.
 *
 * @throws TooLargeError if the keys of one head, or a block of its rows, are too large for this GPU; nothing is recorded then
 */
export function recordAttention(recorder: Recorder, call: AttentionCall, out: Slice, lse: Slice | undefined): void {
  new AttentionRecorder(recorder, call, out, lse).record();
}

class AttentionRecorder {
  readonly #recorder: Recorder;
  readonly #call: AttentionCall;
  readonly #operands: AttentionOperands;
  readonly #out: Operand;
  readonly #lse: Operand | undefined;
  /** Stands for log-sum-exps that nobody wants. */
  #unwanted: Slice | undefined;

  constructor(recorder: Recorder, call: AttentionCall, out: Slice, lse: Slice | undefined) {
    const { result } = call;
    const strides = outputStrides(result);
    this.#recorder = recorder;
    this.#call = call;
    this.#operands = new AttentionOperands(recorder, call);
    this.#out = { slice: out, bytesPerElement: 4, batch: strides.batch, head: strides.head, row: strides.row, last: 1 };
    this.#lse = lse && result.lse && { slice: lse, bytesPerElement: 4, ...result.lse, last: 1 };
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
    // All tables are there before the first dispatch is recorded, since they go up together.
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
      const operands = this.#operands.bind(part);
      return operands && allBound({ ...operands, out: this.#bindOut(part), lse: this.#bindLse(part) });
    }).map(({ part, bound }) => ({ part, bound, decode, states: statesOf(part) }));
  }

  #bindOut({ sequences, firstHead, heads }: Part): Binding | undefined {
    const extent = ({ queryStart, rows }: Sequence) => ({ start: queryStart, rows, width: this.#call.valueDim });
    return this.#operands.bindOne(this.#out, sequences, extent, firstHead, firstHead + heads);
  }

  #bindLse({ sequences, firstHead, heads }: Part): Binding | undefined {
    if (this.#lse === undefined) return { slice: (this.#unwanted ??= this.#recorder.scratch(4)), base: 0 };
    return this.#operands.bindOne(this.#lse, sequences, ({ queryStart, rows }) => ({ start: queryStart, rows, width: 1 }), firstHead, firstHead + heads);
  }

  /** The chunks that any row of a sequence sees; one, if there is none, which says so. */
  #chunks(sequence: Sequence): { readonly first: number; readonly count: number } {
    const { low, count } = visibleKeys(sequence, this.#call.rule);
    const first = Math.floor(low / CHUNK_KEYS.webgpu);
    return { first, count: Math.max(1, Math.ceil((low + count) / CHUNK_KEYS.webgpu) - first) };
  }

  /** Adds what a dispatch needs to the tables. Returns what records it, and the merge of its chunks. */
  #prepare(dispatch: Dispatch, scratch: { readonly outs: Slice; readonly lses: Slice } | undefined): ((tables: Slice) => void)[] {
    const { part, bound, states } = dispatch;
    const { valueDim } = this.#call;
    if (states === undefined || scratch === undefined) {
      const [out, lse] = [this.#out, this.#lse];
      return [
        this.#attend(dispatch, {
          out: bound.out.slice,
          lse: bound.lse.slice,
          outAt: (s) => startOf(out, bound.out, s),
          lseAt: (s) => startOf(lse, bound.lse, s),
          strides: { outHead: out.head, outRow: out.row, outChunk: 0, lseHead: lse?.head ?? 0, lseRow: lse?.row ?? 0, lseChunk: 0 },
          wantsLse: lse !== undefined,
        }),
      ];
    }
    const { starts, count, rows } = states;
    // Kernels count heads from the call's first one.
    const at = (s: Sequence): number => (starts.get(s) ?? 0) - part.firstHead * rows;
    const perChunk = part.heads * rows;
    const outs = { ...scratch.outs, byteLength: count * valueDim * 4 };
    const lses = { ...scratch.lses, byteLength: count * 4 };
    const strides = { outHead: rows * valueDim, outRow: valueDim, outChunk: perChunk * valueDim, lseHead: rows, lseRow: 1, lseChunk: perChunk };
    return [
      this.#attend(dispatch, { out: outs, lse: lses, outAt: (s) => at(s) * valueDim, lseAt: at, strides, wantsLse: true }),
      this.#merge(dispatch, states, outs, lses),
    ];
  }

  #attend({ part, bound, decode }: Dispatch, target: Target): (tables: Slice) => void {
    const recorder = this.#recorder;
    const operands = this.#operands;
    const { tables, group } = operands;
    const { dtype, valueDim } = this.#call;
    const key = attentionKey(decode ? "decode" : "prefill", storageOf(dtype, recorder.traits), recorder.traits);
    const recordsAt = tables.length;
    for (const s of part.sequences)
      pushSequence(tables, { ...operands.record(s, bound), out: target.outAt(s), lse: target.lseAt(s), chunk: decode ? this.#chunks(s).first : 0 });
    const blocksAt = tables.length;
    pushBlocks(tables, part.sequences, recordsAt, key, decode ? group : 1, (s) => (decode ? this.#chunks(s).count : 1));
    const blocks = (tables.length - blocksAt) / BLOCK_WORDS;
    const heads = decode ? part.heads / group : part.heads;
    const workgroups = blocks * heads * Math.max(1, Math.ceil(valueDim / SLICE));
    const grid = gridOf(workgroups, recorder);
    const { flags, ...uniforms } = operands.uniforms();
    const packed = ATTENTION_UNIFORMS.pack({
      ...uniforms,
      ...target.strides,
      flags: flags | (target.wantsLse ? LSE : 0),
      valueDim,
      vHead: operands.v.head,
      vRow: operands.v.row,
      blocksAt,
      blocks,
      firstHead: decode ? part.firstHead / group : part.firstHead,
      heads,
      gridX: grid[0],
      workgroups,
    });
    const { q, k, v, bias, mask } = bound;
    const flops = operands.flops(part);
    return (words) =>
      recorder.run(attentionProgram(key), packed, [q.slice, k.slice, v.slice, bias.slice, mask.slice, words, target.out, target.lse], grid, flops);
  }

  #merge({ part, bound }: Dispatch, { starts, rows }: ChunkStates, outs: Slice, lses: Slice): (tables: Slice) => void {
    const recorder = this.#recorder;
    const [out, lse] = [this.#out, this.#lse];
    const { tables } = this.#operands;
    const sequencesAt = tables.length;
    for (const s of part.sequences) {
      const { first, count } = this.#chunks(s);
      const at = (operand: Operand | undefined, binding: Binding): number => (startOf(operand, binding, s) + part.firstHead * (operand?.head ?? 0)) >>> 0;
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

/** The first element of a sequence's results. */
function startOf(operand: Operand | undefined, { base }: Binding, s: Sequence): number {
  return operand === undefined ? 0 : base + s.batch * operand.batch + s.queryStart * operand.row;
}

/** Where a dispatch of the attention kernel leaves its results. */
interface Target {
  readonly out: Slice;
  readonly lse: Slice;
  readonly outAt: (s: Sequence) => number;
  readonly lseAt: (s: Sequence) => number;
  readonly strides: Record<"outHead" | "outRow" | "outChunk" | "lseHead" | "lseRow" | "lseChunk", number>;
  readonly wantsLse: boolean;
}

/** Where the chunks of a part leave their states; undefined where none of its sequences has more than one. */
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
 * Appends a list of blocks: a sequence's record, the block's first row, and which of the sequence's chunks. The last rows of a
 * sequence come first: under a causal mask they take longest, and what takes long should not start last.
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
