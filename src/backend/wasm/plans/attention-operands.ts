import { CHUNK_KEYS, BLOCK_ROWS, TILE_KEYS } from "../../../calls/blocks.ts";
import type { HeadView, HostScoreCall, ScoreCall, ScoreView, Sequence } from "../../../calls/attention-call.ts";
import { TILE_EMPTY, TILE_PARTIAL } from "../../../calls/block-mask.ts";
import { keyRange } from "../../../calls/key-range.ts";
import type { Row } from "./attention-blocks.ts";
import {
  BIAS,
  MASK,
  ROW_BIAS,
  ROW_HIGH,
  ROW_LOW,
  ROW_LSE,
  ROW_MASK,
  ROW_OUT,
  ROW_POSITION,
  ROW_QUERY,
  ROW_SINK,
  ROW_SLOPE,
  ROW_TABLE_BYTES,
  TILES,
  blockScratchBytes,
} from "./attention-layout.ts";
import type { ModuleMemory } from "../module/memory.ts";
import type { Runtime } from "../module/runtime.ts";

/** Keys whose bias, mask or tile bytes are copied into module memory at a time, so that scratch does not grow with them. */
export const STAGED_KEYS = CHUNK_KEYS.wasm;

/** The keys of a sequence that a call looks at. */
export interface KeySpan {
  readonly low: number;
  readonly count: number;
}

/** Rows at a fixed distance in module memory, both in bytes. */
export interface Strided {
  readonly address: number;
  readonly stride: number;
}

/**
 * A call's operands as the kernels see them: the row table of the current block, and copies in scratch of what does not lie in
 * module memory already. Scratch is taken once and does not grow with the number of keys, except for one head of plain ones.
 */
export class BlockOperands {
  /** Address of the row table. */
  readonly table: number;
  /** Address of the kernel's own scratch. */
  readonly scratch: number;
  readonly #runtime: Runtime;
  readonly #call: HostScoreCall;
  readonly #spanOf: (sequence: Sequence) => KeySpan;
  // Addresses in module memory; 0 where an operand is used in place or absent.
  readonly #queries: number;
  readonly #keys: number;
  readonly #values: number;
  readonly #bias: number;
  readonly #mask: number;
  readonly #tiles: number;
  readonly #tileBytes: number;

  /** Takes its scratch; a caller that needs more takes it before, so that no view of the call is detached afterwards. */
  constructor(runtime: Runtime, held: HeldCall, spanOf: (sequence: Sequence) => KeySpan) {
    const { memory } = runtime;
    const { call, inPlace } = held;
    this.#runtime = runtime;
    this.#spanOf = spanOf;
    let longest = 0;
    for (const sequence of call.sequences) longest = Math.max(longest, spanOf(sequence).count);
    this.table = memory.take(ROW_TABLE_BYTES);
    this.scratch = memory.take(blockScratchBytes(call.dim, call.valueDim));
    this.#queries = inPlace.q ? 0 : memory.take(BLOCK_ROWS * call.dim * 4);
    this.#keys = inPlace.k ? 0 : memory.take(longest * call.dim * 4);
    this.#values = inPlace.v ? 0 : memory.take(longest * call.valueDim * 4);
    this.#bias = call.bias === undefined || inPlace.bias ? 0 : memory.take(BLOCK_ROWS * STAGED_KEYS * 4);
    this.#mask = call.mask === undefined || inPlace.mask ? 0 : memory.take(BLOCK_ROWS * STAGED_KEYS);
    this.#tiles = call.blockMask === undefined ? 0 : memory.take((STAGED_KEYS / TILE_KEYS) * 4);
    this.#tileBytes = call.blockMask === undefined ? 0 : memory.take(STAGED_KEYS * BLOCK_ROWS);
    this.#call = held.settle();
  }

  /** Whether a block has to be run in parts of STAGED_KEYS keys, with `stage` before each. */
  get staged(): boolean {
    return this.#bias !== 0 || this.#mask !== 0 || this.#tiles !== 0;
  }

  get flags(): number {
    return flagsOf(this.#call);
  }

  /** The tile table as the kernel indexes it, from key 0, after `stage` from key `from`. */
  tilesFrom(from: number): number {
    return this.#tiles - (from / TILE_KEYS) * 4;
  }

  keys(sequence: Sequence, kvHead: number): Strided {
    return this.#loadHead(this.#call.k, this.#keys, sequence, kvHead, this.#call.dim);
  }

  values(sequence: Sequence, kvHead: number): Strided {
    return this.#loadHead(this.#call.v, this.#values, sequence, kvHead, this.#call.valueDim);
  }

  /** Describes a block's rows to the kernel, except where their results go; returns the keys [low, high) that any of them sees. */
  describe(sequence: Sequence, rows: readonly Row[]): readonly [number, number] {
    const { memory } = this.#runtime;
    const { q, bias, mask, dim } = this.#call;
    const base = memory.addressOf(q.data);
    return describeRows(memory, this.#call, this.table, sequence, rows, {
      query: (offset, r) => {
        if (this.#queries === 0) return base + offset * 4;
        const copy = this.#queries + r * dim * 4;
        copyIn(q.data, offset, q.dim, memory.f32, copy / 4, dim);
        return copy;
      },
      bias: bias === undefined || this.#bias !== 0 ? -1 : memory.addressOf(bias.data),
      mask: mask === undefined || this.#mask !== 0 ? -1 : memory.addressOf(mask.data),
    });
  }

  /** Tells the kernel where the result of row `r` goes, and its log-sum-exp (0: nowhere). */
  setResult(r: number, out: number, lse: number): void {
    const words = this.#runtime.memory.i32;
    words[this.table / 4 + ROW_OUT + r] = out;
    words[this.table / 4 + ROW_LSE + r] = lse;
  }

  /** Copies bias, mask and tiles of a block's rows for the keys `from` (a multiple of TILE_KEYS) … `to` into module memory. */
  stage(sequence: Sequence, rows: readonly Row[], from: number, to: number): void {
    const { memory } = this.#runtime;
    const { bias, mask, blockMask } = this.#call;
    const words = memory.i32;
    const at = this.table / 4;
    const count = to - from;
    const first = rows[0] ?? { head: 0, query: 0 };
    for (let r = 0; r < roundUpToLanes(rows.length); r++) {
      const { head, query } = rows[r] ?? first;
      if (bias !== undefined && this.#bias !== 0) {
        copyIn(bias.data, scoreOffset(bias, sequence, head, query) + from * bias.key, bias.key, memory.f32, this.#bias / 4 + r * STAGED_KEYS, count);
        words[at + ROW_BIAS + r] = this.#bias + (r * STAGED_KEYS - from) * 4;
      }
      if (mask !== undefined && this.#mask !== 0) {
        copyIn(mask.data, scoreOffset(mask, sequence, head, query) + from * mask.key, mask.key, memory.u8, this.#mask + r * STAGED_KEYS, count);
        words[at + ROW_MASK + r] = this.#mask + r * STAGED_KEYS - from;
      }
    }
    if (blockMask === undefined) return;
    const queryTile = Math.floor(first.query / TILE_KEYS);
    for (let tile = 0; tile * TILE_KEYS < count; tile++) {
      const keyTile = from / TILE_KEYS + tile;
      const kind = blockMask.kindOf(sequence.batch, first.head, queryTile, keyTile);
      const address = this.#tileBytes + tile * TILE_KEYS * BLOCK_ROWS;
      if (kind === TILE_PARTIAL) memory.u8.set(blockMask.bytesOf(sequence.batch, first.head, queryTile, keyTile) ?? [], address);
      words[this.#tiles / 4 + tile] = kind === TILE_EMPTY ? -1 : kind === TILE_PARTIAL ? address : 0;
    }
  }

  /** The keys (or values) of one head in module memory, addressed from key 0: in place, or a copy of the rows that are looked at. */
  #loadHead(view: HeadView<Float32Array>, copy: number, sequence: Sequence, head: number, dim: number): Strided {
    const { memory } = this.#runtime;
    const base = sequence.batch * view.batch + head * view.head + sequence.keyStart * view.row;
    if (copy === 0) return { address: memory.addressOf(view.data) + base * 4, stride: view.row * 4 };
    const { low, count } = this.#spanOf(sequence);
    if (view.dim === 1 && view.row === dim) copyIn(view.data, base + low * dim, 1, memory.f32, copy / 4, count * dim);
    else for (let j = 0; j < count; j++) copyIn(view.data, base + (low + j) * view.row, view.dim, memory.f32, copy / 4 + j * dim, dim);
    return { address: copy - low * dim * 4, stride: dim * 4 };
  }
}

/** Where the operands of a block's rows lie. */
export interface RowSources {
  /** Address of the query at an offset, in elements, from the first; it belongs to row `r`. */
  readonly query: (offset: number, r: number) => number;
  /** Addresses of the first bias and mask byte, or −1 where rows get theirs later, or have none. */
  readonly bias: number;
  readonly mask: number;
}

/** Fills a row table, except where results go; returns the keys [low, high) that any of the rows sees. */
export function describeRows(
  memory: ModuleMemory,
  call: Pick<ScoreCall, "q" | "slopes" | "sinks" | "rule"> & { readonly bias: ScoreView<unknown> | undefined; readonly mask: ScoreView<unknown> | undefined },
  table: number,
  sequence: Sequence,
  rows: readonly Row[],
  sources: RowSources,
): readonly [number, number] {
  const { q, slopes, sinks, bias, mask } = call;
  const floats = memory.f32;
  const words = memory.i32;
  const at = table / 4;
  let lowest = Infinity;
  let highest = 0;
  for (let r = 0; r < rows.length; r++) {
    const { head, query } = rows[r] ?? { head: 0, query: 0 };
    const position = query + sequence.offset;
    const [low, high] = query < sequence.queryLength ? keyRange(position, sequence.keyLength, call.rule) : [0, 0];
    if (low < high) {
      lowest = Math.min(lowest, low);
      highest = Math.max(highest, high);
    }
    words[at + ROW_QUERY + r] = sources.query(sequence.batch * q.batch + head * q.head + (sequence.queryStart + query) * q.row, r);
    words[at + ROW_LOW + r] = low;
    words[at + ROW_HIGH + r] = high;
    floats[at + ROW_POSITION + r] = position;
    floats[at + ROW_SLOPE + r] = slopes?.[head] ?? 0;
    // A row behind its batch's queries is no row: it has no sink either.
    floats[at + ROW_SINK + r] = query < sequence.queryLength ? (sinks?.[head] ?? -Infinity) : -Infinity;
    words[at + ROW_BIAS + r] = bias === undefined || sources.bias < 0 ? 0 : sources.bias + scoreOffset(bias, sequence, head, query) * 4;
    words[at + ROW_MASK + r] = mask === undefined || sources.mask < 0 ? 0 : sources.mask + scoreOffset(mask, sequence, head, query);
  }
  // Lanes without a row see nothing; their addresses must still be readable.
  for (let r = rows.length; r < roundUpToLanes(rows.length); r++) {
    words[at + ROW_LOW + r] = 0;
    words[at + ROW_HIGH + r] = 0;
    floats[at + ROW_SLOPE + r] = 0;
    words[at + ROW_BIAS + r] = words[at + ROW_BIAS] ?? 0;
    words[at + ROW_MASK + r] = words[at + ROW_MASK] ?? 0;
  }
  return highest === 0 ? [0, 0] : [lowest, highest];
}

/** What the kernels find in the row table and in the tile table. */
export function flagsOf({ bias, mask, blockMask }: HostScoreCall): number {
  return (bias === undefined ? 0 : BIAS) | (mask === undefined ? 0 : MASK) | (blockMask === undefined ? 0 : TILES);
}

/** A call from before scratch was taken: growth may detach its views of module memory. */
export interface HeldCall {
  readonly call: HostScoreCall;
  /** Which operands the kernels read where they are. */
  readonly inPlace: { readonly q: boolean; readonly k: boolean; readonly v: boolean; readonly bias: boolean; readonly mask: boolean };
  /** The call with current views, after the last allocation. */
  settle(): HostScoreCall;
}

/** Notes where a call's operands lie. */
export function holdCall(memory: ModuleMemory, call: HostScoreCall): HeldCall {
  const { q, k, v, bias, mask } = call;
  const [qData, kData, vData] = [memory.hold(q.data), memory.hold(k.data), memory.hold(v.data)];
  const biasData = bias && memory.hold(bias.data);
  const maskData = mask && memory.hold(mask.data);
  const heads = (view: HeadView<Float32Array>): boolean => view.dim === 1 && memory.addressOf(view.data) >= 0;
  const scores = (view: ScoreView<Float32Array | Uint8Array> | undefined): boolean => view?.key === 1 && memory.addressOf(view.data) >= 0;
  return {
    call,
    inPlace: { q: heads(q), k: heads(k), v: heads(v), bias: scores(bias), mask: scores(mask) },
    settle: () => ({
      ...call,
      q: { ...q, data: qData() },
      k: { ...k, data: kData() },
      v: { ...v, data: vData() },
      bias: bias && biasData && { ...bias, data: biasData() },
      mask: mask && maskData && { ...mask, data: maskData() },
    }),
  };
}

function roundUpToLanes(rows: number): number {
  return Math.ceil(rows / 8) * 8;
}

function scoreOffset(view: ScoreView<unknown>, sequence: Sequence, head: number, query: number): number {
  return sequence.batch * view.batch + head * view.head + query * view.row;
}

type Numbers = Float32Array | Uint8Array;

/** `count` elements that lie `stride` apart, to neighbours. */
function copyIn(src: Numbers, srcAt: number, stride: number, dst: Numbers, dstAt: number, count: number): void {
  if (stride === 1 && count >= 32) dst.set(src.subarray(srcAt, srcAt + count), dstAt);
  else for (let i = 0; i < count; i++) dst[dstAt + i] = src[srcAt + i * stride] ?? 0;
}

/** The reverse: neighbours to elements that lie `stride` apart. */
export function copyOut(src: Float32Array, srcAt: number, dst: Float32Array, dstAt: number, stride: number, count: number): void {
  if (stride === 1 && count >= 32) dst.set(src.subarray(srcAt, srcAt + count), dstAt);
  else for (let i = 0; i < count; i++) dst[dstAt + i * stride] = src[srcAt + i] ?? 0;
}
