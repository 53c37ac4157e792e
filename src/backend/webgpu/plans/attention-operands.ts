import type { HeadView, ScoreCall, ScoreView, Sequence } from "../../../calls/attention-call.ts";
import { type BlockMask, TILE_EMPTY, TILE_PARTIAL } from "../../../calls/block-mask.ts";
import { TooLargeError } from "../../../errors/errors.ts";
import { contiguousStrides } from "../../../tensor/shape.ts";
import { DeviceArray } from "../../../tensor/tensor.ts";
import { ALIBI, BIAS, MASK, SINKS, type SequenceRecord, TILE, TILES, TILE_OPEN, TILE_SKIPPED } from "../kernels/score-modifiers.ts";
import { visibleKeys } from "../../../calls/key-range.ts";
import { type Packable, pack } from "./pack.ts";
import type { Recorder, Slice } from "../recorder/recorder.ts";

/** An operand in a GPU buffer: strides in elements along batch, head, row and what a row holds. */
export interface Operand {
  readonly slice: Slice;
  readonly bytesPerElement: number;
  readonly batch: number;
  readonly head: number;
  readonly row: number;
  readonly last: number;
}

/** Which rows of an operand a sequence uses, and how much of each. */
export interface Extent {
  readonly start: number;
  readonly rows: number;
  readonly width: number;
}

/** Elements from `from` to `to` (exclusive). */
interface Span {
  readonly from: number;
  readonly to: number;
}

/** Some sequences and heads of a call: what one dispatch computes. */
export interface Part {
  readonly sequences: readonly Sequence[];
  readonly firstHead: number;
  readonly heads: number;
}

/** An operand of a part: what is bound, and the element of the operand that the binding's first one is, negated. */
export interface Binding {
  readonly slice: Slice;
  readonly base: number;
}

/**
 * Positions are clamped to this: beyond every length that a buffer can hold, and small enough that sums of two stay in 32 bits.
 */
const FARTHEST = 2 ** 30;

/** The keys that a row sees, as its record says it: row i from low + i to high + i (exclusive). */
export function keyBases({ offset }: Pick<Sequence, "offset">, { causal, windowLeft, windowRight }: ScoreCall["rule"]): { low: number; high: number } {
  const clamp = (n: number): number => Math.max(-FARTHEST, Math.min(n, FARTHEST));
  return { low: clamp(offset - windowLeft), high: clamp(offset + 1 + (causal ? Math.min(0, windowRight) : windowRight)) };
}

/** The operands of a call on the GPU, with the tables that all of its parts share. */
export class AttentionOperands {
  readonly q: Operand;
  readonly k: Operand;
  readonly v: Operand;
  readonly bias: Operand | undefined;
  readonly mask: Operand | undefined;
  /** The block mask's tiles, slopes and sinks, and what parts add. */
  readonly tables: Tables;
  readonly #recorder: Recorder;
  readonly #call: ScoreCall;
  readonly #slopesAt: number;
  readonly #sinksAt: number;

  constructor(recorder: Recorder, call: ScoreCall) {
    this.#recorder = recorder;
    this.#call = call;
    const { heads, kvHeads, sequences, bias, mask, slopes, sinks, blockMask } = call;
    this.q = this.#heads(call.q, heads, (s) => this.queryExtent(s));
    this.k = this.#heads(call.k, kvHeads, (s) => this.keyExtent(s, call.dim));
    this.v = this.#heads(call.v, kvHeads, (s) => this.keyExtent(s, call.valueDim));
    const scores = (view: ScoreView<Float32Array | Uint8Array | DeviceArray>, bytesPerElement: number): Operand => {
      const operand = { bytesPerElement, batch: view.batch, head: view.head, row: view.row, last: view.key };
      const { to } = spanOf(operand, sequences, (s) => this.scoreExtent(s), 0, heads);
      return { ...operand, slice: recorder.input(view.data, to) };
    };
    this.bias = bias && scores(bias, 4);
    this.mask = mask && scores(mask, 1);
    const shared = [blockMask === undefined ? new Uint32Array() : tileTable(blockMask), bitsOf(slopes), bitsOf(sinks)] as const;
    this.tables = new Tables(shared);
    this.#slopesAt = shared[0].length;
    this.#sinksAt = this.#slopesAt + shared[1].length;
  }

  queryExtent({ queryStart, rows }: Sequence): Extent {
    return { start: queryStart, rows, width: this.#call.dim };
  }

  keyExtent({ keyStart, keyLength }: Sequence, width: number): Extent {
    return { start: keyStart, rows: keyLength, width };
  }

  /** Of a bias or mask, whose rows are those of a padded batch: there queries start behind 0 only where a sequence is cut. */
  scoreExtent({ queryStart, rows, keyLength }: Sequence): Extent {
    return { start: queryStart, rows, width: keyLength };
  }

  /** The bindings of a part, or undefined if one would be larger than this GPU allows. `heads` are query heads. */
  bind(part: Part) {
    const { group, bias, mask } = this;
    const [firstKv, endKv] = [Math.floor(part.firstHead / group), Math.ceil((part.firstHead + part.heads) / group)];
    const end = part.firstHead + part.heads;
    const keys = (operand: Operand, width: number) => this.bindOne(operand, part.sequences, (s) => this.keyExtent(s, width), firstKv, endKv);
    const scores = (operand: Operand | undefined): Binding | undefined =>
      operand === undefined ? this.absent() : this.bindOne(operand, part.sequences, (s) => this.scoreExtent(s), part.firstHead, end);
    const q = this.bindOne(this.q, part.sequences, (s) => this.queryExtent(s), part.firstHead, end);
    const bound = { q, k: keys(this.k, this.#call.dim), v: keys(this.v, this.#call.valueDim), bias: scores(bias), mask: scores(mask) };
    return allBound(bound);
  }

  get group(): number {
    return this.#call.heads / this.#call.kvHeads;
  }

  /** The binding that shows what `sequences` and heads use of an operand. */
  bindOne(operand: Operand, sequences: readonly Sequence[], extent: (s: Sequence) => Extent, firstHead: number, endHead: number): Binding | undefined {
    return bindSpan(this.#recorder, operand.slice, operand.bytesPerElement, spanOf(operand, sequences, extent, firstHead, endHead));
  }

  /** What stands for an operand that the call does not have. */
  absent(): Binding {
    return { slice: this.#recorder.nothing(), base: 0 };
  }

  /** What computing a part takes, in floating-point operations, if every query saw all keys that any of its sequence sees. */
  flops({ sequences, heads }: Part): number {
    const { rule, dim, valueDim } = this.#call;
    return 2 * heads * (dim + valueDim) * sequences.reduce((pairs, s) => pairs + s.rows * visibleKeys(s, rule).count, 0);
  }

  /** The part of a sequence's record that is the same in every kernel. Batch and first row are in the offsets. */
  record(s: Sequence, { q, k, v, bias, mask }: Record<"q" | "k" | "v" | "bias" | "mask", Binding>): Omit<SequenceRecord, "out" | "lse" | "chunk"> {
    const { blockMask, rule } = this.#call;
    const { low, high } = keyBases(s, rule);
    const at = (operand: Operand | undefined, { base }: Binding, start: number): number =>
      operand === undefined ? 0 : base + s.batch * operand.batch + start * operand.row;
    return {
      q: at(this.q, q, s.queryStart),
      k: at(this.k, k, s.keyStart),
      v: at(this.v, v, s.keyStart),
      bias: at(this.bias, bias, s.queryStart),
      mask: at(this.mask, mask, s.queryStart),
      tiles: blockMask === undefined ? 0 : firstTile(blockMask, s),
      low,
      high,
      keys: s.keyLength,
      queries: s.queryLength,
      rows: s.rows,
      offset: s.offset,
    };
  }

  /** Uniforms of the operands, and of what decides a score. */
  uniforms() {
    const { call, q, k, bias, mask } = { call: this.#call, ...this.#strides() };
    const { blockMask } = call;
    const has = (thing: unknown, flag: number): number => (thing === undefined ? 0 : flag);
    return {
      scale: call.scale,
      softcap: call.softcap,
      flags: has(bias, BIAS) | has(mask, MASK) | has(blockMask, TILES) | has(call.slopes, ALIBI) | has(call.sinks, SINKS),
      dim: call.dim,
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

  #strides() {
    return { q: this.q, k: this.k, bias: this.bias, mask: this.mask };
  }

  #heads(view: HeadView, heads: number, extent: (s: Sequence) => Extent): Operand {
    const { dtype, sequences } = this.#call;
    const packed = view.dim === 1 || view.data instanceof DeviceArray ? view : packHeads(view, sequences, extent, heads);
    const operand = { bytesPerElement: dtype === "f32" ? 4 : 2, batch: packed.batch, head: packed.head, row: packed.row, last: 1 };
    const { to } = spanOf(operand, sequences, extent, 0, heads);
    return { ...operand, slice: this.#recorder.input(packed.data, to) };
  }
}

/** The records of all operands, if there is none that does not fit. */
export function allBound<K extends string>(bindings: Readonly<Record<K, Binding | undefined>>): Record<K, Binding> | undefined {
  return Object.values(bindings).includes(undefined) ? undefined : (bindings as Record<K, Binding>);
}

/** The elements of an operand that some sequences and heads use. */
export function spanOf(
  { batch, head, row, last }: Pick<Operand, "batch" | "head" | "row" | "last">,
  sequences: readonly Sequence[],
  extent: (s: Sequence) => Extent,
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

/** The aligned binding that shows a span of an operand, or undefined if it is larger than this GPU allows. */
export function bindSpan({ traits }: Recorder, slice: Slice, bytesPerElement: number, { from, to }: Span): Binding | undefined {
  const { offsetAlignment, bindingBytes } = traits;
  const start = Math.floor((slice.byteOffset + from * bytesPerElement) / offsetAlignment) * offsetAlignment;
  const byteLength = Math.ceil((slice.byteOffset + to * bytesPerElement - start) / 4) * 4;
  if (byteLength > bindingBytes) return undefined;
  return { slice: { buffer: slice.buffer, byteOffset: start, byteLength }, base: (slice.byteOffset - start) / bytesPerElement };
}

/**
 * Cuts a call until every part can be bound, and is not more than wanted at once if it can be cut: sequences first, then heads, then
 * rows. Nothing is recorded until all of it is planned, so that a call which cannot run leaves nothing behind.
 */
export function cutParts<B>(
  whole: Part,
  granularity: number,
  isMuch: (part: Part) => boolean,
  bind: (part: Part) => B | undefined,
): { readonly part: Part; readonly bound: B }[] {
  if (whole.sequences.length === 0 || whole.heads === 0) return [];
  const halves = halvesOf(whole, granularity);
  const bound = halves !== undefined && isMuch(whole) ? undefined : bind(whole);
  if (bound !== undefined) return [{ part: whole, bound }];
  if (halves === undefined)
    throw new TooLargeError(`the keys of one head, or ${TILE} of its rows, are more than this GPU can bind at once (its maxStorageBufferBindingSize)`);
  return halves.flatMap((half) => cutParts(half, granularity, isMuch, bind));
}

/** Halves of a part, none of which is empty; undefined where there is nothing left to cut. */
function halvesOf(whole: Part, granularity: number): readonly Part[] | undefined {
  const { sequences, firstHead, heads } = whole;
  const [first] = sequences;
  if (first === undefined) return undefined;
  if (sequences.length > 1) {
    const half = Math.ceil(sequences.length / 2);
    return [sequences.slice(0, half), sequences.slice(half)].map((some) => ({ ...whole, sequences: some }));
  }
  if (heads > granularity) {
    const half = Math.ceil(heads / granularity / 2) * granularity;
    return [
      { ...whole, heads: half },
      { ...whole, firstHead: firstHead + half, heads: heads - half },
    ];
  }
  if (first.rows <= TILE) return undefined;
  // At the border of a block, so that no bit changes, which is one of a block mask's tiles.
  const half = Math.ceil(first.rows / TILE / 2) * TILE;
  return [rowsOf(first, 0, half), rowsOf(first, half, first.rows - half)].map((some) => ({ ...whole, sequences: [some] }));
}

/** Some rows of a sequence, as a sequence. */
function rowsOf(s: Sequence, from: number, rows: number): Sequence {
  const queryLength = Math.max(0, Math.min(rows, s.queryLength - from));
  return { ...s, queryStart: s.queryStart + from, rows, queryLength, offset: s.offset + from };
}

/** The rows of a part's longest sequence. */
export function mostRows({ sequences }: Part): number {
  return sequences.reduce((most, { rows }) => Math.max(most, rows), 0);
}

/** A grid of `count` workgroups: along x, and where that is too narrow also along y. */
export function gridOf(count: number, { traits }: Pick<Recorder, "traits">): readonly [number, number, number] {
  const most = traits.workgroupsPerDimension;
  const x = Math.min(count, most);
  const y = x === 0 ? 0 : Math.ceil(count / x);
  if (y > most) throw new TooLargeError(`${count} workgroups are needed, but this GPU allows ${most} along each of two dimensions`);
  return [x, y, 1];
}

/** A copy in which the elements of a head are neighbours: kernels read rows along them. */
function packHeads(view: HeadView, sequences: readonly Sequence[], extent: (s: Sequence) => Extent, heads: number): HeadView<Packable> {
  let [batches, rows, width] = [0, 0, 0];
  for (const s of sequences) {
    const e = extent(s);
    batches = Math.max(batches, s.batch + 1);
    rows = Math.max(rows, e.start + e.rows);
    width = e.width;
  }
  const shape = [batches, heads, rows, width];
  const data = pack(view.data as Packable, shape, [view.batch, view.head, view.row, view.dim]);
  const [batch = 0, head = 0, row = 0] = contiguousStrides(shape);
  return { data, batch, head, row, dim: 1 };
}

function tilesPerHead({ queryTiles, keyTiles }: BlockMask): number {
  return queryTiles * keyTiles;
}

/** Where a sequence's tiles begin, of its first head. */
function firstTile(mask: BlockMask, { batch, queryStart }: Sequence): number {
  return (mask.batch === 1 ? 0 : batch * mask.heads * tilesPerHead(mask)) + (queryStart / TILE) * mask.keyTiles;
}

/** The bits of numbers. */
function bitsOf(numbers: Float32Array | undefined): Uint32Array {
  return numbers === undefined ? new Uint32Array() : new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
}

/** Words that kernels look up: what all parts of a call share, and what each adds to it, uploaded together. */
export class Tables {
  readonly #shared: readonly Uint32Array[];
  readonly #own: number[] = [];
  readonly #ownAt: number;

  constructor(shared: readonly Uint32Array[]) {
    this.#shared = shared;
    this.#ownAt = shared.reduce((length, { length: more }) => length + more, 0);
  }

  /** Where the next word will be. */
  get length(): number {
    return this.#ownAt + this.#own.length;
  }

  push(...words: readonly number[]): void {
    this.#own.push(...words);
  }

  upload(recorder: Recorder): Slice {
    const words = new Uint32Array(this.length);
    let at = 0;
    for (const some of [...this.#shared, this.#own]) {
      words.set(some, at);
      at += some.length;
    }
    return recorder.input(words);
  }
}

/** Words of a partial tile: a bit for each pair, two words for each row. */
const TILE_WORDS = (TILE * TILE) / 32;

const TILE_TABLES = new WeakMap<BlockMask, Uint32Array>();

/**
 * A word for each tile of a block mask, by batch, head, row of tiles and column, and behind them the bits of those that are partial.
 * Made once for a mask: 10 ms for 4096 partial ones.
 */
export function tileTable(mask: BlockMask): Uint32Array {
  let table = TILE_TABLES.get(mask);
  if (table === undefined) TILE_TABLES.set(mask, (table = makeTileTable(mask)));
  return table;
}

function makeTileTable(mask: BlockMask): Uint32Array {
  const { batch, heads, queryTiles, keyTiles } = mask;
  // Offsets of bits must not be mistaken for the words that mean "skipped" and "open".
  const bitsAt = Math.max(batch * heads * tilesPerHead(mask), TILE_OPEN + 1);
  const words: number[] = [];
  const partial: Uint8Array[] = [];
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < queryTiles; i++) {
        for (let j = 0; j < keyTiles; j++) {
          const kind = mask.kindOf(b, h, i, j);
          const bytes = kind === TILE_PARTIAL ? mask.bytesOf(b, h, i, j) : undefined;
          words.push(bytes === undefined ? (kind === TILE_EMPTY ? TILE_SKIPPED : TILE_OPEN) : bitsAt + TILE_WORDS * (partial.push(bytes) - 1));
        }
      }
    }
  }
  const table = new Uint32Array(bitsAt + TILE_WORDS * partial.length);
  table.set(words);
  let at = bitsAt;
  for (const bytes of partial) {
    for (let word = 0; word < bytes.length; word += 32) {
      let bits = 0;
      for (let bit = 0; bit < 32; bit++) if (bytes[word + bit] !== 0) bits |= 1 << bit;
      table[at++] = bits;
    }
  }
  return table;
}
