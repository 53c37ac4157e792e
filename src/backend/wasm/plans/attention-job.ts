import { CHUNK_KEYS, BLOCK_ROWS, TILE_KEYS } from "../../../calls/blocks.ts";
import type { HeadView, HostAttentionCall, ScoreView, Sequence } from "../../../calls/attention-call.ts";
import { TILE_EMPTY, TILE_PARTIAL } from "../../../calls/block-mask.ts";
import { keyRange, visibleKeys } from "../../../calls/key-range.ts";
import type { AttentionResult } from "./attention.ts";
import { type Row, forEachBlock } from "./attention-blocks.ts";
import { FIRST, LAST, RESTART, ROW_LSE, ROW_OUT, ROW_TABLE_BYTES, blockScratchBytes, stateBytes, stateIn } from "./attention-layout.ts";
import { type Strided, describeRows, flagsOf } from "./attention-operands.ts";
import type { Call, Group, Job, Lease, Task } from "./job.ts";
import type { ModuleMemory } from "../module/memory.ts";
import { type Cost, MULTIPLY_ADD_NS, type Range, TUNING, cutsKeys, joinTasks, keyChunks, workPerTask } from "./schedule.ts";
import { type CopyDim, compactDims, copyStrided } from "./strided-copy.ts";

/** A call of attention as a job: its tasks, and what brings the results to where the caller wants them. */
export interface AttentionJob extends Job {
  readonly finish: () => void;
}

/** A block, and the keys that its rows see. */
interface Block extends Range {
  readonly sequence: Sequence;
  readonly kvHead: number;
  readonly rows: readonly Row[];
  readonly decode: boolean;
}

/** Flags of which argument of a kernel is an offset into scratch. */
const BLOCK_SCRATCH = 1 << 13;
const MERGE_STATE = 1 << 3;
const MERGE_TOTAL = 1 << 4;

/** About what a call costs: quick to say, as it is asked of every call. */
export function attentionCost(memory: ModuleMemory, call: HostAttentionCall): Cost {
  const { heads, dim, valueDim, rule, result, q, k, v, bias, mask } = call;
  let pairs = 0;
  let keyRows = 0;
  for (const sequence of call.sequences) {
    const { count } = visibleKeys(sequence, rule);
    const right = rule.causal ? 0 : rule.windowRight;
    // Half of the square of causality is empty.
    const hidden = rule.causal ? Math.min(sequence.queryLength, count) / 2 : 0;
    const seen = Math.min(count - hidden, rule.windowLeft + right + 1);
    pairs += Math.ceil((sequence.queryLength * heads) / 4) * 4 * seen;
    keyRows += count * call.kvHeads;
  }
  let copyBytes = 0;
  if (!isInPlace(memory, q)) copyBytes += q.data.byteLength;
  if (!isInPlace(memory, k)) copyBytes += keyRows * dim * 4;
  if (!isInPlace(memory, v)) copyBytes += keyRows * valueDim * 4;
  if (result.out === undefined || memory.addressOf(result.out.data) < 0) copyBytes += result.shape.reduce((a, b) => a * b, 4);
  if (bias !== undefined && (bias.key !== 1 || memory.addressOf(bias.data) < 0)) copyBytes += bias.data.byteLength;
  if (mask !== undefined && (mask.key !== 1 || memory.addressOf(mask.data) < 0)) copyBytes += mask.data.byteLength;
  return { computeNs: pairs * (dim + valueDim) * MULTIPLY_ADD_NS, copyBytes };
}

/** Makes a job of a call. Operands that kernels cannot use where they are get copies of their own. */
export function attentionJob(
  memory: ModuleMemory,
  lease: Lease,
  call: HostAttentionCall,
  result: AttentionResult,
  threads: number,
  tuning = TUNING,
): AttentionJob {
  const { dim, valueDim, scale, softcap } = call;
  const blocks = blocksOf(call);
  const operands = operandsOf(memory, lease, call);
  const outputs = outputsOf(memory, lease, call, result);
  const tables = lease.take(blocks.length * ROW_TABLE_BYTES);
  const tiles = tilesOf(memory, lease, call, blocks);
  const flags = flagsOf(call);
  const costs = blocks.map(({ rows, from, to }) => Math.ceil(rows.length / 4) * 4 * (to - from) * (dim + valueDim) * MULTIPLY_ADD_NS);
  const total = costs.reduce((sum, cost) => sum + cost, 0);
  const least = workPerTask(total, threads, tuning);
  const cuts = cutsKeys(blocks.length, threads, tuning);
  const slots = blocks.map(({ rows, decode, from, to }) => {
    const chunks = decode && cuts ? keyChunks(from, to) : [];
    return chunks.length > 1 ? { chunks, address: lease.take(chunks.length * stateBytes(rows.length, valueDim)) } : undefined;
  });

  const describe = (): void => {
    const words = memory.i32;
    blocks.forEach(({ sequence, rows }, b) => {
      const table = tables + b * ROW_TABLE_BYTES;
      describeRows(memory, { ...call, q: operands.q, bias: operands.bias?.view, mask: operands.mask?.view }, table, sequence, rows, {
        query: (offset) => operands.queryAt + offset * 4,
        bias: operands.bias?.address ?? -1,
        mask: operands.mask?.address ?? -1,
      });
      rows.forEach((row, r) => {
        words[table / 4 + ROW_OUT + r] = outputs.outAt(sequence, row);
        words[table / 4 + ROW_LSE + r] = outputs.lseAt(sequence, row);
      });
    });
  };

  const stateAt = stateIn(0, dim);
  const totalAt = blockScratchBytes(dim, valueDim);
  const blockCall = (b: number, { sequence, kvHead, rows }: Block, { from, to }: Range, mode: number): Call => {
    const keys = operands.keys(sequence, kvHead);
    const values = operands.values(sequence, kvHead);
    const place = [keys.address, keys.stride, values.address, values.stride] as const;
    return {
      kernel: "attention_block_f32",
      args: [tables + b * ROW_TABLE_BYTES, rows.length, ...place, from, to, dim, valueDim, scale, softcap, tiles.tableOf(b), 0, flags | mode],
      relative: BLOCK_SCRATCH,
    };
  };
  const mergeCall = (b: number, rows: number, state: number, into: number, mode: number, relative: number): Call => ({
    kernel: "attention_merge_f32",
    args: [tables + b * ROW_TABLE_BYTES, rows, valueDim, state, into, mode],
    relative,
  });
  /** A whole block, as one thread alone computes it (attention.ts). */
  const wholeBlock = (block: Block, b: number): Call[] => {
    const chunks = block.decode ? keyChunks(block.from, block.to) : [];
    if (chunks.length < 2) return [blockCall(b, block, block, FIRST | LAST)];
    return chunks.flatMap((chunk, c) => {
      const ends = (c === 0 ? FIRST : 0) | (c === chunks.length - 1 ? LAST : 0);
      return [blockCall(b, block, chunk, (ends & FIRST) | RESTART), mergeCall(b, block.rows.length, stateAt, totalAt, ends, MERGE_STATE | MERGE_TOTAL)];
    });
  };
  /** A block cut into chunks of keys: each leaves its state in a slot, and the last that is done merges them. */
  const cutBlock = (block: Block, b: number, { chunks, address }: { readonly chunks: readonly Range[]; readonly address: number }): Task[] => {
    const rows = block.rows.length;
    const slot = (c: number): number => address + c * stateBytes(rows, valueDim);
    const merges = chunks.slice(1).map((_, c) => mergeCall(b, rows, slot(c + 1), slot(0), c + 2 === chunks.length ? LAST : 0, 0));
    const group: Group = { calls: merges };
    const calls = chunks.map((chunk, c) => [blockCall(b, block, chunk, FIRST), mergeCall(b, rows, stateAt, slot(c), FIRST, MERGE_STATE)]);
    const cost = (costs[b] ?? 0) / chunks.length;
    return joinTasks(
      chunks.map(() => cost),
      least,
    ).map(({ from, to }) => ({ calls: calls.slice(from, to).flat(), group }));
  };

  const tasks: Task[] = [];
  let open: { readonly block: Block; readonly b: number }[] = [];
  const close = (): void => {
    for (const { from, to } of joinTasks(
      open.map(({ b }) => costs[b] ?? 0),
      least,
    ))
      tasks.push({ calls: open.slice(from, to).flatMap(({ block, b }) => wholeBlock(block, b)) });
    open = [];
  };
  blocks.forEach((block, b) => {
    const cut = slots[b];
    if (cut === undefined) {
      open.push({ block, b });
      return;
    }
    close();
    tasks.push(...cutBlock(block, b, cut));
  });
  close();
  describe();
  tiles.write();
  return { tasks, scratchBytes: totalAt + stateBytes(BLOCK_ROWS, valueDim), finish: outputs.finish };
}

/** All blocks of a call, with the keys that any of their rows sees. */
function blocksOf(call: HostAttentionCall): Block[] {
  const blocks: Block[] = [];
  for (const sequence of call.sequences) {
    forEachBlock(call, sequence, (kvHead, rows, decode) => {
      let [low, high] = [Infinity, 0];
      for (const { query } of rows) {
        const [from, to] = query < sequence.queryLength ? keyRange(query + sequence.offset, sequence.keyLength, call.rule) : [0, 0];
        if (from >= to) continue;
        low = Math.min(low, from);
        high = Math.max(high, to);
      }
      // As one thread does: from the beginning of a chunk.
      blocks.push({ sequence, kvHead, rows: [...rows], decode, from: high === 0 ? 0 : Math.floor(low / CHUNK_KEYS.wasm) * CHUNK_KEYS.wasm, to: high });
    });
  }
  return blocks;
}

function isInPlace(memory: ModuleMemory, view: HeadView<Float32Array>): boolean {
  return view.dim === 1 && memory.addressOf(view.data) >= 0;
}

/** Where the operands of a call lie in module memory, or will when the lease's copies have been made. */
interface Operands {
  readonly q: HeadView<Float32Array>;
  readonly queryAt: number;
  readonly bias: Placed | undefined;
  readonly mask: Placed | undefined;
  keys(sequence: Sequence, kvHead: number): Strided;
  values(sequence: Sequence, kvHead: number): Strided;
}

interface Placed {
  readonly view: ScoreView<unknown>;
  readonly address: number;
}

function operandsOf(memory: ModuleMemory, lease: Lease, call: HostAttentionCall): Operands {
  const { q, k, v, bias, mask, dim, valueDim, kvHeads } = call;
  const size = sizesOf(call);
  let queryAt = memory.addressOf(q.data);
  let queries = q;
  if (!isInPlace(memory, q)) {
    const view = [
      { size: size.batch, from: q.batch },
      { size: call.heads, from: q.head },
      { size: size.rows, from: q.row },
      { size: dim, from: q.dim },
    ];
    const { dims, count } = compactDims(view, 3);
    queryAt = copyOf(memory, lease, q.data, 0, dims, count);
    const [batch = 0, head = 0, row = 0] = dims.map(({ to }) => to);
    queries = { ...q, batch, head, row, dim: 1 };
  }
  return {
    q: queries,
    queryAt,
    bias: bias && placeScores(memory, lease, bias, size, call.heads),
    mask: mask && placeScores(memory, lease, mask, size, call.heads),
    keys: placeKeys(memory, lease, call, k, dim, kvHeads),
    values: placeKeys(memory, lease, call, v, valueDim, kvHeads),
  };
}

/** How far the indices of a call's operands go. */
interface Sizes {
  readonly batch: number;
  readonly rows: number;
  readonly keys: number;
}

function sizesOf({ sequences }: HostAttentionCall): Sizes {
  let [batch, rows, keys] = [0, 0, 0];
  for (const sequence of sequences) {
    batch = Math.max(batch, sequence.batch + 1);
    rows = Math.max(rows, sequence.queryStart + sequence.rows);
    keys = Math.max(keys, sequence.keyLength);
  }
  return { batch, rows, keys };
}

/** A bias or mask: in place, or a copy in which the keys of a row are neighbours. */
function placeScores(memory: ModuleMemory, lease: Lease, view: ScoreView<Float32Array | Uint8Array>, { batch, rows, keys }: Sizes, heads: number): Placed {
  const address = memory.addressOf(view.data);
  if (view.key === 1 && address >= 0) return { view, address };
  const from = [
    { size: batch, from: view.batch },
    { size: heads, from: view.head },
    { size: rows, from: view.row },
    { size: keys, from: view.key },
  ];
  const { dims, count } = compactDims(from, 3);
  const [b = 0, h = 0, r = 0] = dims.map(({ to }) => to);
  return { view: { data: undefined, batch: b, head: h, row: r, key: 1 }, address: copyOf(memory, lease, view.data, 0, dims, count) };
}

/** Keys or values: in place, or copies of the rows that any query of a sequence sees. Sequences with the same rows share a copy. */
function placeKeys(memory: ModuleMemory, lease: Lease, call: HostAttentionCall, view: HeadView<Float32Array>, dim: number, kvHeads: number) {
  const base = memory.addressOf(view.data);
  const first = (sequence: Sequence): number => sequence.batch * view.batch + sequence.keyStart * view.row;
  if (isInPlace(memory, view)) {
    return (sequence: Sequence, kvHead: number): Strided => ({ address: base + (first(sequence) + kvHead * view.head) * 4, stride: view.row * 4 });
  }
  const copies = new Map<string, { readonly address: number; readonly head: number; readonly row: number }>();
  const bySequence = new Map<Sequence, { readonly address: number; readonly head: number; readonly row: number }>();
  for (const sequence of call.sequences) {
    const { low, count } = visibleKeys(sequence, call.rule);
    const at = first(sequence) + low * view.row;
    const name = `${at} ${count}`;
    let copy = copies.get(name);
    if (copy === undefined) {
      const from = [
        { size: kvHeads, from: view.head },
        { size: count, from: view.row },
        { size: dim, from: view.dim },
      ];
      const { dims, count: elements } = compactDims(from, 2);
      const [head = 0, row = 0] = dims.map(({ to }) => to);
      copy = { address: copyOf(memory, lease, view.data, at, dims, elements), head, row };
      copies.set(name, copy);
    }
    // Addressed from key 0, which may lie before the copy.
    bySequence.set(sequence, { ...copy, address: copy.address - low * copy.row * 4 });
  }
  return (sequence: Sequence, kvHead: number): Strided => {
    const { address, head, row } = bySequence.get(sequence) ?? { address: 0, head: 0, row: 0 };
    return { address: address + kvHead * head * 4, stride: row * 4 };
  };
}

/** The address of a copy that the lease will make. */
function copyOf(memory: ModuleMemory, lease: Lease, data: Float32Array | Uint8Array, at: number, dims: readonly CopyDim[], count: number): number {
  const bytes = data.BYTES_PER_ELEMENT;
  const address = lease.take(count * bytes);
  const held = memory.hold(data);
  lease.copy(data, () => copyStrided(held(), at, bytes === 1 ? memory.u8 : memory.f32, address / bytes, dims));
  return address;
}

/** Where results go: in place, or to room of their own first. */
function outputsOf(memory: ModuleMemory, lease: Lease, call: HostAttentionCall, { out, lse }: AttentionResult) {
  const { batch, rows } = sizesOf(call);
  let base = memory.addressOf(out.data);
  let strides: Pick<HeadView, "batch" | "head" | "row"> = out;
  const finishes: (() => void)[] = [];
  if (base < 0 || out.dim !== 1) {
    const from = [
      { size: batch, from: out.batch },
      { size: call.heads, from: out.head },
      { size: rows, from: out.row },
      { size: call.valueDim, from: out.dim },
    ];
    const { dims, count } = compactDims(from, 3);
    const copy = lease.take(count * 4);
    const [b = 0, h = 0, r = 0] = dims.map(({ to }) => to);
    base = copy;
    strides = { batch: b, head: h, row: r };
    const held = memory.hold(out.data);
    const back = dims.map(({ size, from, to }): CopyDim => ({ size, from: to, to: from }));
    finishes.push(() => copyStrided(memory.f32, copy / 4, held(), 0, back));
  }
  const lseBase = lse === undefined ? 0 : lease.take(lse.data.length * 4);
  if (lse !== undefined) finishes.push(() => lse.data.set(memory.f32.subarray(lseBase / 4, lseBase / 4 + lse.data.length)));
  return {
    outAt: ({ batch, queryStart }: Sequence, { head, query }: Row): number =>
      base + (batch * strides.batch + head * strides.head + (queryStart + query) * strides.row) * 4,
    lseAt: ({ batch, queryStart }: Sequence, { head, query }: Row): number =>
      lse === undefined ? 0 : lseBase + (batch * lse.batch + head * lse.head + (queryStart + query) * lse.row) * 4,
    finish: () => {
      for (const finish of finishes) finish();
    },
  };
}

/** Tables of tiles of all blocks, and the masks of those that are partly visible, each once. */
function tilesOf(memory: ModuleMemory, lease: Lease, { blockMask }: HostAttentionCall, blocks: readonly Block[]) {
  if (blockMask === undefined) return { tableOf: () => 0, write: () => undefined };
  const partial = new Map<Uint8Array, number>();
  const kinds = blocks.map(({ sequence, rows, to }) => {
    const first = rows[0] ?? { head: 0, query: 0 };
    const queryTile = Math.floor(first.query / TILE_KEYS);
    return Array.from({ length: Math.ceil(to / TILE_KEYS) }, (_, keyTile): number | Uint8Array => {
      const kind = blockMask.kindOf(sequence.batch, first.head, queryTile, keyTile);
      const bytes = kind === TILE_PARTIAL ? blockMask.bytesOf(sequence.batch, first.head, queryTile, keyTile) : undefined;
      if (bytes !== undefined) partial.set(bytes, 0);
      return bytes ?? (kind === TILE_EMPTY ? -1 : 0);
    });
  });
  for (const bytes of partial.keys()) partial.set(bytes, lease.take(bytes.byteLength));
  const addresses = kinds.map((list) => lease.take(list.length * 4));
  return {
    tableOf: (b: number): number => addresses[b] ?? 0,
    write: (): void => {
      for (const [bytes, address] of partial) memory.u8.set(bytes, address);
      kinds.forEach((list, b) =>
        list.forEach((tile, t) => (memory.i32[(addresses[b] ?? 0) / 4 + t] = typeof tile === "number" ? tile : (partial.get(tile) ?? 0))),
      );
    },
  };
}
