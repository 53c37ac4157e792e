import type { HeadView, ScoreCall, ScoreView, Sequence } from "../../attention-arguments.ts";
import { type BlockMask, TILE_EMPTY, TILE_PARTIAL } from "../../block-mask.ts";
import { TooLargeError } from "../../errors.ts";
import { contiguousStrides } from "../../shape.ts";
import { DeviceArray } from "../../tensor.ts";
import { ALIBI, BIAS, MASK, SINKS, type SequenceRecord, TILE, TILES, TILE_OPEN, TILE_SKIPPED, bitsOf } from "./kernels/score-modifiers.ts";
import { type Packable, pack } from "./pack.ts";
import type { Recorder, Slice } from "./recorder.ts";

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
  readonly #recorder: Recorder;
  readonly #call: ScoreCall;
  /** Slopes, sinks and the block mask's tiles. */
  readonly #tables: number[] = [];
  readonly #slopesAt: number;
  readonly #sinksAt: number;
  readonly #tilesAt: number;

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
    this.#slopesAt = this.#push(slopes);
    this.#sinksAt = this.#push(sinks);
    this.#tilesAt = this.#tables.length;
    if (blockMask !== undefined) pushTiles(this.#tables, blockMask);
  }

  queryExtent({ queryStart, rows }: Sequence): Extent {
    return { start: queryStart, rows, width: this.#call.dim };
  }

  keyExtent({ keyStart, keyLength }: Sequence, width: number): Extent {
    return { start: keyStart, rows: keyLength, width };
  }

  scoreExtent({ rows, keyLength }: Sequence): Extent {
    return { start: 0, rows, width: keyLength };
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

  /** A copy of the tables to add a part's own to. */
  tables(): number[] {
    return this.#tables.slice();
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
      bias: at(this.bias, bias, 0),
      mask: at(this.mask, mask, 0),
      tiles: blockMask === undefined || blockMask.batch === 1 ? this.#tilesAt : this.#tilesAt + s.batch * blockMask.heads * tilesPerHead(blockMask),
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

  #push(perHead: Float32Array | undefined): number {
    const at = this.#tables.length;
    for (const value of perHead ?? []) this.#tables.push(bitsOf(value));
    return at;
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
 * Cuts a call until every part can be bound: sequences first, then heads. Nothing is recorded until all of it is planned, so
 * that a call which cannot run leaves nothing behind.
 */
export function cutParts<B>(whole: Part, granularity: number, bind: (part: Part) => B | undefined): { readonly part: Part; readonly bound: B }[] {
  if (whole.sequences.length === 0 || whole.heads === 0) return [];
  const bound = bind(whole);
  if (bound !== undefined) return [{ part: whole, bound }];
  const { sequences, firstHead, heads } = whole;
  const half = Math.ceil(sequences.length / 2);
  const headHalf = Math.ceil(heads / granularity / 2) * granularity;
  let parts: Part[];
  if (sequences.length > 1) {
    parts = [
      { ...whole, sequences: sequences.slice(0, half) },
      { ...whole, sequences: sequences.slice(half) },
    ];
  } else if (heads > granularity) {
    parts = [
      { ...whole, heads: headHalf },
      { ...whole, firstHead: firstHead + headHalf, heads: heads - headHalf },
    ];
  } else throw new TooLargeError("one head of one batch is larger than what this GPU can bind at once (its maxStorageBufferBindingSize)");
  return parts.flatMap((part) => cutParts(part, granularity, bind));
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

/** Words of a partial tile: a bit for each pair, two words for each row. */
const TILE_WORDS = (TILE * TILE) / 32;

/** Appends a word for each tile, by batch, head, row of tiles and column, and the bits of those that are partial. */
export function pushTiles(tables: number[], mask: BlockMask): void {
  const start = tables.length;
  const { batch, heads, queryTiles, keyTiles } = mask;
  let at = start;
  let bitsAt = start + batch * heads * queryTiles * keyTiles;
  // Offsets of bits must not be mistaken for the words that mean "skipped" and "open".
  while (bitsAt <= TILE_OPEN) bitsAt++;
  const partial: Uint8Array[] = [];
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < queryTiles; i++) {
        for (let j = 0; j < keyTiles; j++) {
          const kind = mask.kindOf(b, h, i, j);
          const bytes = kind === TILE_PARTIAL ? mask.bytesOf(b, h, i, j) : undefined;
          tables[at++] = bytes === undefined ? (kind === TILE_EMPTY ? TILE_SKIPPED : TILE_OPEN) : bitsAt + TILE_WORDS * (partial.push(bytes) - 1);
        }
      }
    }
  }
  while (tables.length < bitsAt) tables.push(0);
  for (const bytes of partial) {
    for (let word = 0; word < TILE_WORDS; word++) {
      let bits = 0;
      for (let bit = 0; bit < 32; bit++) if (bytes[word * 32 + bit] !== 0) bits |= 1 << bit;
      tables.push(bits >>> 0);
    }
  }
}
