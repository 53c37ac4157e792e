import { type HeadOperand, type ScoreCall, type ScoreOperand, type Sequence } from "../../../calls/attention-call.ts";
import { rightOf, visibleKeys } from "../../../calls/key-range.ts";
import { BYTES, type ArrayHandle } from "../../../tensor/array.ts";
import { contiguousStrides } from "../../../tensor/shape.ts";
import { ALIBI, BIAS, MASK, SINKS, type SequenceRecord, TILES } from "../kernels/score-modifiers.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";
import { pack } from "./pack.ts";
import type { Part } from "./parts.ts";
import { Tables, wordsOf, firstTile, tileTable, tilesPerHead } from "./tables.ts";

/** The rows of an operand or result that a sequence uses, and how wide they are. */
export interface Extent {
  readonly start: number;
  readonly rows: number;
  readonly width: number;
}

/** Rows by batch and head. Strides, in elements, are along batches, heads, rows, and the contents of a row (`last`). */
interface RowLayout {
  readonly bytesPerElement: number;
  readonly batch: number;
  readonly head: number;
  readonly row: number;
  readonly last: number;
  /** Query heads that share one head of this operand or result. */
  readonly group: number;
  readonly extent: (s: Sequence) => Extent;
}

/** An operand or result in a GPU buffer. */
export interface RowSlice extends RowLayout {
  readonly slice: Slice;
}

/** Elements from `from` to `to` (exclusive). */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** What is bound of an operand or result, and the index of its element 0 there: negative if the binding begins after that. */
export interface Binding {
  readonly slice: Slice;
  readonly base: number;
}

const NAMES = ["q", "k", "v", "bias", "mask"] as const;
type Name = (typeof NAMES)[number];

/** Positions are clamped to this. It exceeds every length that a buffer can hold, yet sums of two stay in 32 bits. */
const FARTHEST = 2 ** 30;

/** The keys that rows see, as stored in the sequence record: row i sees low + i to high + i (exclusive). */
export function keyBases({ offset }: Pick<Sequence, "offset">, rule: ScoreCall["rule"]): { low: number; high: number } {
  const clamp = (n: number): number => Math.max(-FARTHEST, Math.min(n, FARTHEST));
  return { low: clamp(offset - rule.windowLeft), high: clamp(offset + 1 + rightOf(rule)) };
}

/** The rows of a result, `width` elements each. */
export function rowExtent(width: number): (s: Sequence) => Extent {
  return ({ queryStart, rows }) => ({ start: queryStart, rows, width });
}

/** A call's operands on the GPU, with the tables that all of its parts share. */
export class AttentionOperands {
  readonly slices: Readonly<Record<"q" | "k" | "v", RowSlice>> & Readonly<Record<"bias" | "mask", RowSlice | undefined>>;
  /** The block mask's tiles, slopes and sinks, plus what parts add. */
  readonly tables: Tables;
  /** Query heads per key/value head. */
  readonly group: number;
  readonly #recorder: Recorder;
  readonly #call: ScoreCall;
  readonly #slopesAt: number;
  readonly #sinksAt: number;

  constructor(recorder: Recorder, call: ScoreCall) {
    this.#recorder = recorder;
    this.#call = call;
    const { heads, kvHeads, dim, valueDim, slopes, sinks, blockMask } = call;
    const { q, k, v = k, bias, mask } = call.operands;
    const group = kvHeads === 0 ? 1 : heads / kvHeads;
    const keys = (width: number) => (s: Sequence) => ({ start: s.keyStart, rows: s.keyLength, width });
    this.group = group;
    this.slices = {
      q: this.#heads(q, 1, rowExtent(dim)),
      k: this.#heads(k, group, keys(dim)),
      v: this.#heads(v, group, keys(valueDim)),
      bias: this.#scores(bias),
      mask: this.#scores(mask),
    };
    const shared = [blockMask === undefined ? new Uint32Array() : tileTable(blockMask), wordsOf(slopes), wordsOf(sinks)] as const;
    this.tables = new Tables(shared);
    this.#slopesAt = shared[0].length;
    this.#sinksAt = this.#slopesAt + shared[1].length;
  }

  /** The bindings of a part, or `undefined` if one would be larger than this GPU allows. */
  bind(part: Part): Record<Name, Binding> | undefined {
    const bindings = NAMES.map((name) => [name, this.bindOne(this.slices[name], part)] as const);
    return allBound(Object.fromEntries(bindings) as Record<Name, Binding | undefined>);
  }

  /** The binding of what a part uses of an operand or result. An operand that the call lacks gets a binding that is never read. */
  bindOne(rows: RowSlice | undefined, { sequences, firstHead, heads }: Part): Binding | undefined {
    if (rows === undefined) return { slice: this.#recorder.nothing(), base: 0 };
    const [first, end] = [Math.floor(firstHead / rows.group), Math.ceil((firstHead + heads) / rows.group)];
    return bindSpan(this.#recorder, rows.slice, rows.bytesPerElement, rowSpan(rows, sequences, first, end));
  }

  /** Floating-point operations of a part, as if every query saw all keys that any query of its sequence sees. */
  flops({ sequences, heads }: Part): number {
    const { rule, dim, valueDim } = this.#call;
    return 2 * heads * (dim + valueDim) * sequences.reduce((pairs, s) => pairs + s.rows * visibleKeys(s, rule).count, 0);
  }

  /** The part of a sequence's record that is the same in every kernel. The offsets include batch and first row. */
  record(s: Sequence, bound: Readonly<Record<Name, Binding>>): Omit<SequenceRecord, "out" | "lse" | "chunk"> {
    const { blockMask, rule } = this.#call;
    const starts = NAMES.map((name) => [name, startOf(this.slices[name], bound[name], s)] as const);
    return {
      ...(Object.fromEntries(starts) as Record<Name, number>),
      ...keyBases(s, rule),
      tiles: blockMask === undefined ? 0 : firstTile(blockMask, s),
      keys: s.keyLength,
      queries: s.queryLength,
      rows: s.rows,
      offset: s.offset,
    };
  }

  /** Uniforms for the operands and for everything that decides a score. */
  uniforms() {
    const { scale, softcap, dim, blockMask, slopes, sinks } = this.#call;
    const { q, k, bias, mask } = this.slices;
    const has = (thing: unknown, flag: number): number => (thing === undefined ? 0 : flag);
    return {
      scale,
      softcap,
      flags: has(bias, BIAS) | has(mask, MASK) | has(blockMask, TILES) | has(slopes, ALIBI) | has(sinks, SINKS),
      dim,
      group: this.group,
      qHead: q.head,
      qRow: q.row,
      kHead: k.head,
      kRow: k.row,
      biasHead: bias?.head ?? 0,
      biasRow: bias?.row ?? 0,
      biasKey: bias?.last ?? 0,
      maskHead: mask?.head ?? 0,
      maskRow: mask?.row ?? 0,
      maskKey: mask?.last ?? 0,
      tilesHead: blockMask === undefined || blockMask.heads === 1 ? 0 : tilesPerHead(blockMask),
      tilesRow: blockMask?.keyTiles ?? 0,
      slopesAt: this.#slopesAt,
      sinksAt: this.#sinksAt,
    };
  }

  /** Queries, keys or values. Kernels read along a head's elements, so arrays where those are not adjacent are packed first. */
  #heads(x: HeadOperand, group: number, extent: RowLayout["extent"]): RowSlice {
    if (x.dim === 1 || x.data.place === "gpu") return this.#slice(x.data, { ...x, last: 1, group, extent });
    const { sequences, heads } = this.#call;
    const extents = sequences.map(extent);
    const rows = extents.reduce((most, e) => Math.max(most, e.start + e.rows), 0);
    const shape = [sequences.reduce((most, s) => Math.max(most, s.batch + 1), 0), heads / group, rows, extents[0]?.width ?? 0];
    const [batch = 0, head = 0, row = 0] = contiguousStrides(shape);
    return this.#slice(pack(x.data, shape, [x.batch, x.head, x.row, x.dim]), { batch, head, row, last: 1, group, extent });
  }

  /** A bias or mask. Its rows are those of a padded batch, where queries start after 0 only if a sequence is split. */
  #scores(x: ScoreOperand | undefined): RowSlice | undefined {
    return x && this.#slice(x.data, { ...x, last: x.key, group: 1, extent: (s) => rowExtent(s.keyLength)(s) });
  }

  #slice(data: ArrayHandle, { batch, head, row, last, group, extent }: Omit<RowLayout, "bytesPerElement">): RowSlice {
    const layout = { bytesPerElement: BYTES[data.dtype], batch, head, row, last, group, extent };
    const { to } = rowSpan(layout, this.#call.sequences, 0, this.#call.heads / group);
    return { ...layout, slice: this.#recorder.input(data, to) };
  }
}

/** The index of a sequence's first element in a binding. */
export function startOf(rows: RowSlice | undefined, { base }: Binding, s: Sequence): number {
  return rows === undefined ? 0 : base + s.batch * rows.batch + rows.extent(s).start * rows.row;
}

/** All bindings, or `undefined` if one is missing. */
export function allBound<K extends string>(bindings: Readonly<Record<K, Binding | undefined>>): Record<K, Binding> | undefined {
  return Object.values(bindings).includes(undefined) ? undefined : (bindings as Record<K, Binding>);
}

/** The span of elements that some sequences and heads use. */
export function rowSpan(
  { batch, head, row, last, extent }: Omit<RowLayout, "bytesPerElement" | "group">,
  sequences: readonly Sequence[],
  firstHead: number,
  endHead: number,
): Span {
  let from = Infinity;
  let to = 0;
  for (const s of sequences) {
    const { start, rows, width } = extent(s);
    if (rows === 0 || width === 0 || endHead === firstHead) continue;
    const first = s.batch * batch + firstHead * head + start * row;
    from = Math.min(from, first);
    to = Math.max(to, first + (endHead - 1 - firstHead) * head + (rows - 1) * row + (width - 1) * last + 1);
  }
  return to === 0 ? { from: 0, to: 0 } : { from, to };
}

/** The aligned binding that shows a span, or undefined if it is larger than this GPU allows. */
export function bindSpan({ traits }: Recorder, slice: Slice, bytesPerElement: number, { from, to }: Span): Binding | undefined {
  const { offsetAlignment, bindingBytes } = traits;
  const start = Math.floor((slice.byteOffset + from * bytesPerElement) / offsetAlignment) * offsetAlignment;
  const byteLength = Math.ceil((slice.byteOffset + to * bytesPerElement - start) / 4) * 4;
  if (byteLength > bindingBytes) return undefined;
  return { slice: { buffer: slice.buffer, byteOffset: start, byteLength }, base: (slice.byteOffset - start) / bytesPerElement };
}
