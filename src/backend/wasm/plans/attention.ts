import { CHUNK_KEYS, BLOCK_ROWS } from "../../../calls/blocks.ts";
import { type AttentionCall, type HeadView, type HostAttentionCall, type Sequence, hostAttentionCall, outputView } from "../../../calls/attention-call.ts";
import { visibleKeys } from "../../../calls/key-range.ts";
import { newOutput } from "../../../calls/arguments.ts";
import { elementCount } from "../../../tensor/shape.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { type Row, forEachBlock } from "./attention-blocks.ts";
import { FIRST, LAST, RESTART, stateBytes, stateIn } from "./attention-layout.ts";
import { BlockOperands, type Strided, copyOut, holdCall } from "./attention-operands.ts";
import { ATTENTION } from "../module/attention-family.ts";
import type { Runtime } from "../module/runtime.ts";

/** Runs attention on the calling thread. */
export function runAttentionCall(runtime: Runtime, given: AttentionCall): Tensor<"f32"> | { readonly out: Tensor<"f32">; readonly lse: Tensor<"f32"> } {
  const call = hostAttentionCall(given);
  const { result } = call;
  const output = result.out ?? newOutput(result.shape, "f32");
  const out = output.tensor as Tensor<"f32">;
  const lse = result.lse && { ...result.lse, data: new Float32Array(elementCount(result.lse.shape)) };
  if (elementCount(result.shape) > 0) runAttention(runtime, call, { out: outputView(output, result), lse });
  return lse === undefined ? out : { out, lse: { data: lse.data, shape: lse.shape, dtype: "f32" } };
}

/** Where a call's results go. `lse` is addressed like the query's rows: batch, head and row strides in elements. */
export interface AttentionResult {
  readonly out: HeadView<Float32Array>;
  readonly lse: { readonly data: Float32Array; readonly batch: number; readonly head: number; readonly row: number } | undefined;
}

/** Runs a call block by block. Scratch is constant; plain keys and values are copied one head at a time, the visible part of it. */
export function runAttention(runtime: Runtime, call: HostAttentionCall, result: AttentionResult): void {
  const { memory } = runtime;
  const mark = memory.mark();
  try {
    const runner = new AttentionRunner(runtime, call, result);
    for (const sequence of call.sequences) runner.run(sequence);
  } finally {
    memory.release(mark);
  }
}

class AttentionRunner {
  readonly #runtime: Runtime;
  readonly #call: HostAttentionCall;
  readonly #result: AttentionResult;
  readonly #operands: BlockOperands;
  /** Address of a block's outputs in scratch, or 0 when they are written in place. */
  readonly #outputs: number;
  /** Address of a block's log-sum-exps in scratch, or 0 when nobody wants them. */
  readonly #lses: number;
  /** Address of the state that the chunks of a decode block are merged into. */
  readonly #total: number;

  constructor(runtime: Runtime, call: HostAttentionCall, result: AttentionResult) {
    const { memory } = runtime;
    this.#runtime = runtime;
    this.#call = call;
    const held = holdCall(memory, call);
    const out = memory.hold(result.out.data);
    const inPlace = result.out.dim === 1 && memory.addressOf(result.out.data) >= 0;
    this.#outputs = inPlace ? 0 : memory.take(BLOCK_ROWS * call.valueDim * 4);
    this.#lses = result.lse === undefined ? 0 : memory.take(BLOCK_ROWS * 4);
    this.#total = memory.take(stateBytes(BLOCK_ROWS, call.valueDim));
    this.#operands = new BlockOperands(runtime, held, (sequence) => visibleKeys(sequence, call.rule));
    this.#result = { ...result, out: { ...result.out, data: out() } };
  }

  run(sequence: Sequence): void {
    let loaded = -1;
    let keys: Strided | undefined;
    let values: Strided | undefined;
    forEachBlock(this.#call, sequence, (kvHead, rows, decode) => {
      if (kvHead !== loaded) [keys, values] = [this.#operands.keys(sequence, kvHead), this.#operands.values(sequence, kvHead)];
      loaded = kvHead;
      if (keys !== undefined && values !== undefined) this.#runBlock(sequence, rows, keys, values, decode);
    });
  }

  #runBlock(sequence: Sequence, rows: readonly Row[], keys: Strided, values: Strided, decode: boolean): void {
    const operands = this.#operands;
    const kernels = this.#runtime.load(ATTENTION);
    const { dim, valueDim, scale, softcap } = this.#call;
    const { table, scratch } = operands;
    const [low, high] = operands.describe(sequence, rows);
    this.#setResults(sequence, rows);
    // Parts begin at multiples of their length, so that tiles and chunks lie where one call would have them.
    const start = Math.floor(low / CHUNK_KEYS.wasm) * CHUNK_KEYS.wasm;
    let from = start;
    do {
      const to = operands.staged || decode ? Math.min(from + CHUNK_KEYS.wasm, high) : high;
      if (operands.staged) operands.stage(sequence, rows, from, to);
      const ends = (from === start ? FIRST : 0) | (to === high ? LAST : 0);
      const merges = decode && ends !== (FIRST | LAST);
      const flags = operands.flags | (merges ? (ends & FIRST) | RESTART : ends);
      kernels.attention_block_f32(
        table,
        rows.length,
        keys.address,
        keys.stride,
        values.address,
        values.stride,
        from,
        to,
        dim,
        valueDim,
        scale,
        softcap,
        operands.tilesFrom(from),
        scratch,
        flags,
      );
      if (merges) kernels.attention_merge_f32(table, rows.length, valueDim, stateIn(scratch, dim), this.#total, ends);
      from = to;
    } while (from < high);
    this.#copyResults(sequence, rows);
  }

  #setResults(sequence: Sequence, rows: readonly Row[]): void {
    const inPlace = this.#outputs === 0;
    const base = inPlace ? this.#runtime.memory.addressOf(this.#result.out.data) : this.#outputs;
    rows.forEach((row, r) => {
      const offset = inPlace ? this.#outOffset(sequence, row) : r * this.#call.valueDim;
      this.#operands.setResult(r, base + offset * 4, this.#lses === 0 ? 0 : this.#lses + r * 4);
    });
  }

  #copyResults(sequence: Sequence, rows: readonly Row[]): void {
    const { out, lse } = this.#result;
    const { valueDim } = this.#call;
    const heap = this.#runtime.memory.f32;
    rows.forEach((row, r) => {
      if (this.#outputs !== 0) copyOut(heap, this.#outputs / 4 + r * valueDim, out.data, this.#outOffset(sequence, row), out.dim, valueDim);
      if (lse !== undefined)
        lse.data[sequence.batch * lse.batch + row.head * lse.head + (sequence.queryStart + row.query) * lse.row] = heap[this.#lses / 4 + r] ?? 0;
    });
  }

  #outOffset(sequence: Sequence, row: Row): number {
    const { out } = this.#result;
    return sequence.batch * out.batch + row.head * out.head + (sequence.queryStart + row.query) * out.row;
  }
}
