import { type AttentionCall, type Sequence, outputStrides } from "../../attention-call.ts";
import { usesDecode } from "../../decode-rule.ts";
import { visibleKeys } from "../../key-range.ts";
import { AttentionOperands, type Binding, type Operand, type Part, allBound, cutParts, gridOf } from "./attention-operands.ts";
import { ATTENTION_UNIFORMS, type AttentionKey, CHUNK_KEYS, SLICE, attentionKey, attentionProgram } from "./kernels/attention.ts";
import { CHUNK_UNIFORMS, MERGED_COLUMNS, MERGE_CHUNKS } from "./kernels/merge.ts";
import { LSE, pushSequence, SEQUENCE_WORDS } from "./kernels/score-modifiers.ts";
import type { Recorder, Slice } from "./recorder.ts";
import { storageOf } from "./traits.ts";

/**
 * Bytes of scratch that the outputs of chunks may take in one dispatch; more of them are computed in turns. Enough for some
 * thousand workgroups, which is what fills a GPU.
 */
const CHUNK_BYTES = 64 * 1024 * 1024;

/** What a dispatch binds: the operands and where the results go. */
type Bound = Record<"q" | "k" | "v" | "bias" | "mask" | "out" | "lse", Binding>;

interface Dispatch {
  readonly part: Part;
  readonly bound: Bound;
  /** Chunks of keys, of the sequence that has most. */
  readonly chunks: number;
}

/**
 * Records attention. `out` takes the outputs, row-major in the call's layout, and `lse` the log-sum-exps, if anyone wants them.
 *
 * @throws BackendError if one head of one batch is too large for this GPU; nothing is recorded then
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
    const used = sequences.filter(({ rows }) => rows > 0);
    const decode = used.filter((s) => usesDecode(this.#call, s));
    const prefill = used.filter((s) => !usesDecode(this.#call, s));
    const plans = [
      ...this.#plan({ sequences: decode, firstHead: 0, heads }, this.#operands.group, (part) => this.#chunksOf(part)),
      ...this.#plan({ sequences: prefill, firstHead: 0, heads }, 1, () => 1),
    ];
    for (const dispatch of plans)
      this.#run(
        dispatch,
        dispatch.part.sequences.some((s) => usesDecode(this.#call, s)),
      );
  }

  #plan(whole: Part, granularity: number, chunksOf: (part: Part) => number): Dispatch[] {
    return cutParts(whole, granularity, (part) => {
      const chunks = chunksOf(part);
      const { outs } = chunkBytes(part, chunks, this.#call.valueDim);
      // One sequence and head runs whatever it takes.
      if (chunks > 1 && outs > CHUNK_BYTES && (part.sequences.length > 1 || part.heads > granularity)) return undefined;
      const operands = this.#operands.bind(part);
      const results = operands && allBound({ out: this.#bindOut(part), lse: this.#bindLse(part) });
      return results && { ...operands, ...results, chunks };
    }).map(({ part, bound: { chunks, ...bound } }) => ({ part, bound, chunks }));
  }

  #bindOut({ sequences, firstHead, heads }: Part): Binding | undefined {
    const extent = ({ queryStart, rows }: Sequence) => ({ start: queryStart, rows, width: this.#call.valueDim });
    return this.#operands.bindOne(this.#out, sequences, extent, firstHead, firstHead + heads);
  }

  #bindLse({ sequences, firstHead, heads }: Part): Binding | undefined {
    if (this.#lse === undefined) return { slice: (this.#unwanted ??= this.#recorder.scratch(4)), base: 0 };
    return this.#operands.bindOne(this.#lse, sequences, ({ queryStart, rows }) => ({ start: queryStart, rows, width: 1 }), firstHead, firstHead + heads);
  }

  /** Chunks that any row of a part sees. */
  #chunksOf({ sequences }: Part): number {
    return sequences.reduce((most, s) => Math.max(most, this.#chunkRange(s).count), 1);
  }

  #chunkRange(sequence: Sequence): { readonly first: number; readonly count: number } {
    const { low, count } = visibleKeys(sequence, this.#call.rule);
    const first = Math.floor(low / CHUNK_KEYS);
    return { first, count: Math.ceil((low + count) / CHUNK_KEYS) - first };
  }

  #run(dispatch: Dispatch, decode: boolean): void {
    const { part, bound, chunks } = dispatch;
    if (chunks === 1) {
      const at =
        (operand: Operand | undefined, { base }: Binding) =>
        (s: Sequence) =>
          operand === undefined ? 0 : base + s.batch * operand.batch + s.queryStart * operand.row;
      this.#attend(dispatch, decode, {
        out: bound.out.slice,
        lse: bound.lse.slice,
        outAt: at(this.#out, bound.out),
        lseAt: at(this.#lse, bound.lse),
        strides: {
          outHead: this.#out.head,
          outRow: this.#out.row,
          outChunk: 0,
          lseHead: this.#lse?.head ?? 0,
          lseRow: this.#lse?.row ?? 0,
          lseChunk: 0,
        },
        wantsLse: this.#lse !== undefined,
      });
      return;
    }
    // Chunks leave their states by [chunk, sequence, head, row].
    const { valueDim } = this.#call;
    const rows = mostRows(part);
    const states = part.sequences.length * part.heads * rows;
    const bytes = chunkBytes(part, chunks, valueDim);
    const outs = this.#recorder.scratch(bytes.outs);
    const lses = this.#recorder.scratch(bytes.lses);
    const indices = new Map(part.sequences.map((s, i) => [s, i]));
    const state = (s: Sequence): number => ((indices.get(s) ?? 0) * part.heads - part.firstHead) * rows;
    this.#attend(dispatch, decode, {
      out: outs,
      lse: lses,
      outAt: (s) => state(s) * valueDim,
      lseAt: state,
      strides: { outHead: rows * valueDim, outRow: valueDim, outChunk: states * valueDim, lseHead: rows, lseRow: 1, lseChunk: states },
      wantsLse: true,
    });
    this.#merge(dispatch, rows, outs, lses);
  }

  #attend({ part, bound, chunks }: Dispatch, decode: boolean, target: Target): void {
    const recorder = this.#recorder;
    const operands = this.#operands;
    const { dtype, valueDim, heads, kvHeads } = this.#call;
    const key = attentionKey(decode ? "decode" : "prefill", storageOf(dtype, recorder.traits), recorder.traits);
    const group = heads / kvHeads;
    const tables = operands.tables();
    const recordsAt = tables.length;
    for (const s of part.sequences) {
      const chunk = decode ? this.#chunkRange(s).first : 0;
      pushSequence(tables, { ...operands.record(s, bound), out: target.outAt(s), lse: target.lseAt(s), chunk });
    }
    const blocksAt = tables.length;
    pushBlocks(tables, part.sequences, recordsAt, key, decode ? group : 1);
    const blocks = (tables.length - blocksAt) / 2;
    const slices = Math.max(1, Math.ceil(valueDim / SLICE));
    const units = decode ? part.heads / group : part.heads;
    const workgroups = blocks * units * slices * chunks;
    const grid = gridOf(workgroups, recorder);
    const { flags, ...uniforms } = operands.uniforms();
    recorder.run(
      attentionProgram(key),
      ATTENTION_UNIFORMS.pack({
        ...uniforms,
        ...target.strides,
        flags: flags | (target.wantsLse ? LSE : 0),
        valueDim,
        vHead: operands.v.head,
        vRow: operands.v.row,
        blocksAt,
        blocks,
        firstHead: decode ? part.firstHead / group : part.firstHead,
        heads: units,
        slices,
        chunks,
        gridX: grid[0],
        workgroups,
      }),
      [bound.q.slice, bound.k.slice, bound.v.slice, bound.bias.slice, bound.mask.slice, recorder.input(Uint32Array.from(tables)), target.out, target.lse],
      grid,
    );
  }

  #merge({ part, bound, chunks }: Dispatch, rows: number, outs: Slice, lses: Slice): void {
    const recorder = this.#recorder;
    const [out, lse] = [this.#out, this.#lse];
    const at = (operand: Operand, { base }: Binding, s: Sequence): number =>
      base + s.batch * operand.batch + part.firstHead * operand.head + s.queryStart * operand.row;
    const tables = part.sequences.flatMap((s) => [
      at(out, bound.out, s) >>> 0,
      lse === undefined ? 0 : at(lse, bound.lse, s) >>> 0,
      s.rows,
      this.#chunkRange(s).first,
    ]);
    const columns = this.#call.valueDim;
    const columnBlocks = Math.max(1, Math.ceil(columns / MERGED_COLUMNS));
    const states = part.sequences.length * part.heads * rows;
    const grid = gridOf(states * columnBlocks, recorder);
    recorder.run(
      MERGE_CHUNKS,
      CHUNK_UNIFORMS.pack({
        columns,
        columnBlocks,
        rows,
        heads: part.heads,
        states,
        chunks,
        outHead: out.head,
        outRow: out.row,
        lseHead: lse?.head ?? 0,
        lseRow: lse?.row ?? 0,
        wantsLse: lse === undefined ? 0 : 1,
        gridX: grid[0],
        workgroups: states * columnBlocks,
      }),
      [outs, lses, recorder.input(Uint32Array.from(tables)), bound.out.slice, bound.lse.slice],
      grid,
    );
  }
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

function mostRows({ sequences }: Part): number {
  return sequences.reduce((most, { rows }) => Math.max(most, rows), 0);
}

/** Bytes of the states that the chunks of a part leave. */
export function chunkBytes(part: Part, chunks: number, valueDim: number): { readonly outs: number; readonly lses: number } {
  const states = part.sequences.length * part.heads * mostRows(part) * chunks;
  return { outs: states * valueDim * 4, lses: states * 4 };
}

/**
 * Appends a list of blocks: a sequence's record and the block's first row. The last rows of a sequence come first: under a causal
 * mask they take longest, and what takes long should not start last.
 */
export function pushBlocks(tables: number[], sequences: readonly Sequence[], recordsAt: number, { rows }: AttentionKey, heads: number): void {
  sequences.forEach((s, i) => {
    for (let block = Math.ceil((s.rows * heads) / rows) - 1; block >= 0; block--) tables.push(recordsAt + i * SEQUENCE_WORDS, block * rows);
  });
}
