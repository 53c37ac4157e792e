import { CHUNK_KEYS, BLOCK_ROWS, usesDecode } from "./blocks.ts";
import type { MergeCall } from "./merge-call.ts";
import type { ScoresCall } from "./scores-call.ts";
import { type AttentionCall, type HeadView, type ScoreCall, type Sequence, outputStrides } from "./attention-call.ts";
import { type KeyRangeRule, visibleKeys } from "./key-range.ts";
import { type RowCall, resultStrides } from "./row-call.ts";
import { contiguousStrides, elementCount } from "../tensor/shape.ts";
import { DeviceArray, type GpuTensor, type Place, placeOf, resultPlace } from "../tensor/tensor.ts";

/** An operand of a call, as far as it decides where the call runs. */
export interface WorkOperand {
  /** The argument's name, for messages. */
  readonly name: string;
  readonly place: Place;
  readonly bytes: number;
}

/**
 * What a call asks of a machine, in quantities that do not depend on the machine. A quantity that an operation has not is 0, so
 * that a call's time is a sum over quantities and no case of operations.
 */
export interface Work {
  readonly op: "softmax" | "logSoftmax" | "logSumExp" | "attention" | "attentionScores" | "mergeStates";
  /** Decode reads every key once for all queries, prefill once per block of queries; chosen from queries per key/value head. */
  readonly kernel: "rows" | "decode" | "prefill" | "merge";
  readonly dtype: "f32" | "f64" | "f16";
  readonly operands: readonly WorkOperand[];
  /** Where the result goes. */
  readonly resultPlace: Place;
  /** Bytes of operands on the host, which a GPU has to be sent. */
  readonly bytesIn: number;
  /** Bytes of results for the host, which a GPU has to send back. */
  readonly bytesOut: number;
  /** The largest buffer that the call needs on a GPU. */
  readonly largestBytes: number;
  /** The longest range of an operand or result that a GPU has to see at once: of a row, the keys of a head, or a block of their scores. */
  readonly spanBytes: number;
  /** Elements that pass through a row operation, rows themselves included at what they cost (see ROW_ELEMENTS). */
  readonly rowElements: number;
  /** Bytes that a row operation moves to and from memory. */
  readonly rowBytes: number;
  /** Scores that some query sees: causality, windows, lengths and block masks take the others away. */
  readonly scores: number;
  /** Of those scores, q·k and p·v. */
  readonly multiplyAdds: number;
  /** Two for each multiply-add, and what the exponential of a score costs (see SCORE_FLOPS). */
  readonly flops: number;
  /** Bytes of visible keys and values, where they are read once (decode). */
  readonly keyBytes: number;
  /** How many times its largest indivisible part the work is: more threads, or workgroups, than that do not help. */
  readonly parts: { readonly cpu: number; readonly gpu: number };
}

/** What is not in a call but decides its work: `explain` has shapes and no data. */
export interface Assumed {
  /** Where all operands are, whatever the call says. */
  readonly place?: Place;
  readonly dtype?: "f32" | "f64" | "f16";
}

/**
 * What starting and ending a row costs on the CPU, in elements of softmax (0.6 ns): a row of four elements takes 14 ns in softmax,
 * 38 ns in logSoftmax (one logarithm) and 160 ns in logSumExp (a logarithm, and one kernel call per row).
 */
const ROW_ELEMENTS = { softmax: 16, logSoftmax: 40, logSumExp: 120 } as const;

/** What a score costs beside its multiply-adds, in flops: dense attention of head dimension 16 runs at half the rate of 64. */
const SCORE_FLOPS = 64;

/** Query rows of a workgroup of decode. A block of prefill has 64 on both sides. */
const DECODE_ROWS_GPU = 16;

const F32_BYTES = 4;

/** The work of a row operation. */
export function rowWork(call: RowCall, assumed: Assumed = {}): Work {
  const { op, x, axes, shape, bias, mask, out } = call;
  const dtype = assumed.dtype ?? x.dtype;
  const size = BYTES[dtype];
  const elements = elementCount(x.shape);
  const rows = axes.reduce((n, axis) => n / Math.max(x.shape[axis] ?? 1, 1), elements);
  const results = elementCount(shape);
  const resultBytes = results * (dtype === "f64" ? 8 : F32_BYTES);
  const inputs = operandsOf(
    [
      { name: "x", data: x.data, bytes: elements * size },
      { name: "bias", data: bias?.data },
      { name: "mask", data: mask?.data },
    ],
    assumed,
  );
  return {
    op,
    kernel: "rows",
    dtype,
    ...transfers(inputs, out?.data, [resultBytes]),
    spanBytes: rowSpan(call, size),
    rowElements: elements + rows * ROW_ELEMENTS[op],
    rowBytes: elements * size + resultBytes,
    scores: 0,
    multiplyAdds: 0,
    flops: 0,
    keyBytes: 0,
    parts: evenParts(rows),
  };
}

/** The work of attention, padded or ragged. */
export function attentionWork(call: AttentionCall, assumed: Assumed = {}): Work {
  const { result } = call;
  const dtype = assumed.dtype ?? call.dtype;
  const inputs = headOperands(call, assumed, true);
  const results = [elementCount(result.shape) * F32_BYTES, elementCount(result.lse?.shape ?? [0]) * F32_BYTES];
  return {
    op: "attention",
    dtype,
    ...transfers(inputs, result.out?.data, results),
    rowElements: 0,
    rowBytes: 0,
    ...scoreWork(call, call.valueDim, BYTES[dtype], [call.valueDim, outputStrides(result).row]),
  };
}

/** The work of the matrix of scores: q·k, written out and passed over once more. */
export function scoresWork(call: ScoresCall, assumed: Assumed = {}): Work {
  const { keyLength } = call;
  const dtype = assumed.dtype ?? call.dtype;
  const rows = call.heads * call.sequences.reduce((n, { rows }) => n + rows, 0);
  const bytes = rows * keyLength * F32_BYTES;
  return {
    op: "attentionScores",
    dtype,
    ...transfers(headOperands(call, assumed, false), undefined, [bytes]),
    ...scoreWork(call, 0, BYTES[dtype], [keyLength, keyLength]),
    kernel: "prefill",
    rowElements: rows * (keyLength + ROW_ELEMENTS.softmax),
    rowBytes: 3 * bytes,
    keyBytes: 0,
    parts: evenParts(rows / BLOCK_ROWS),
  };
}

/** The work of merging partial results. */
export function mergeWork({ parts, shape, lseShape }: MergeCall, assumed: Assumed = {}): Work {
  const elements = elementCount(shape);
  const rows = elementCount(lseShape);
  const inputs = operandsOf(
    parts.flatMap(({ out, lse }, i) => [
      { name: `parts[${i}].out`, data: out.data, bytes: elements * F32_BYTES },
      { name: `parts[${i}].lse`, data: lse.data, bytes: rows * F32_BYTES },
    ]),
    assumed,
  );
  const results = [elements * F32_BYTES, rows * F32_BYTES];
  return {
    op: "mergeStates",
    kernel: "merge",
    dtype: assumed.dtype ?? "f32",
    ...transfers(inputs, undefined, results),
    spanBytes: (shape.at(-1) ?? 0) * F32_BYTES,
    rowElements: parts.length * (elements + rows * ROW_ELEMENTS.softmax),
    rowBytes: (parts.length + 1) * (elements + rows) * F32_BYTES,
    scores: 0,
    multiplyAdds: 0,
    flops: 0,
    keyBytes: 0,
    // Merging is not divided over threads.
    parts: { cpu: 1, gpu: evenParts(rows).gpu },
  };
}

/** Sizes of attention of batch 1. */
export interface HeadSizes {
  readonly heads: number;
  readonly kvHeads?: number;
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  readonly causal?: boolean;
  /** Keys before its own that a query sees. Default all. */
  readonly windowLeft?: number;
}

/** The work of a row operation on [rows, cols] of f32. */
export function rowWorkOf(op: RowCall["op"], [rows, cols]: readonly [rows: number, cols: number], place: Place): Work {
  const shape = [rows, cols];
  const x = { data: noData(rows * cols * F32_BYTES), dtype: "f32", shape, strides: [cols, 1] } as const;
  const result = op === "logSumExp" ? [rows] : shape;
  return rowWork({ op, algorithm: "auto", safe: false, scale: 1, bias: undefined, mask: undefined, x, axes: [1], shape: result, out: undefined }, { place });
}

/** The work of attention of f32. */
export function attentionWorkOf({ heads, kvHeads = heads, queries, keys, dim, causal = false, windowLeft = Infinity }: HeadSizes, place: Place): Work {
  const view = (count: number): HeadView => ({ data: noData(count * dim * F32_BYTES), batch: 0, head: 0, row: dim, dim: 1 });
  const sequence = { batch: 0, queryStart: 0, keyStart: 0, rows: queries, queryLength: queries, keyLength: keys, offset: keys - queries };
  const options = { scale: 1, softcap: 0, slopes: undefined, sinks: undefined, bias: undefined, mask: undefined, blockMask: undefined };
  return attentionWork(
    {
      ...options,
      heads,
      kvHeads,
      dim,
      valueDim: dim,
      dtype: "f32",
      q: view(heads * queries),
      k: view(kvHeads * keys),
      v: view(kvHeads * keys),
      sequences: [sequence],
      rule: { causal, windowLeft, windowRight: Infinity },
      result: { shape: [heads, queries, dim], layout: "bhld", out: undefined, lse: undefined },
    },
    { place },
  );
}

function noData(bytes: number): DeviceArray {
  return new DeviceArray(NO_BUFFER, 0, bytes);
}

const NO_BUFFER = { size: Number.MAX_SAFE_INTEGER, usage: 0, mapState: "unmapped" } as const;

/**
 * A tensor of a shape without numbers: what takes the place of data in a call that is only to be explained. Every check of shapes
 * and options is then that of a real call.
 */
export function standIn<D extends "f32" | "f16" | "u8">(shape: readonly number[], dtype: D): GpuTensor<D> {
  return { buffer: NO_BUFFER, shape, dtype };
}

const BYTES = { f32: 4, f64: 8, f16: 2 } as const;

type Data = DeviceArray | ArrayBufferView | undefined;

/** An argument of a call, and the bytes of its elements where `explain` assumes another dtype than its stand-in has. */
interface Argument {
  readonly name: string;
  readonly data: Data;
  readonly bytes?: number;
}

/** The arguments that a call has. Of an array all is sent, also what a view does not show. */
function operandsOf(list: readonly Argument[], assumed: Assumed): WorkOperand[] {
  const found: WorkOperand[] = [];
  for (const { name, data, bytes } of list) {
    if (data === undefined) continue;
    const place = assumed.place ?? placeOf(data);
    found.push({ name, place, bytes: (assumed.dtype === undefined ? undefined : bytes) ?? data.byteLength });
  }
  return found;
}

function headOperands(call: ScoreCall, assumed: Assumed, hasValues: boolean): WorkOperand[] {
  const { heads, kvHeads, dim, valueDim, q, k, v, bias, mask, sequences } = call;
  const size = BYTES[assumed.dtype ?? call.dtype];
  const queries = sequences.reduce((n, { rows }) => n + rows, 0);
  const keys = sequences.reduce((n, { keyLength }) => n + keyLength, 0);
  return operandsOf(
    [
      { name: "q", data: q.data, bytes: queries * heads * dim * size },
      { name: "k", data: k.data, bytes: keys * kvHeads * dim * size },
      { name: "v", data: hasValues ? v.data : undefined, bytes: keys * kvHeads * valueDim * size },
      { name: "bias", data: bias?.data },
      { name: "mask", data: mask?.data },
    ],
    assumed,
  );
}

function transfers(
  inputs: readonly WorkOperand[],
  out: Data,
  results: readonly number[],
): Pick<Work, "operands" | "resultPlace" | "bytesIn" | "bytesOut" | "largestBytes"> {
  const target = resultPlace(inputs[0]?.place ?? "host", out);
  return {
    operands: out instanceof DeviceArray ? [...inputs, { name: "out", place: "gpu", bytes: out.byteLength }] : inputs,
    resultPlace: target,
    bytesIn: inputs.reduce((n, { place, bytes }) => n + (place === "host" ? bytes : 0), 0),
    bytesOut: target === "host" ? results.reduce((n, bytes) => n + bytes, 0) : 0,
    largestBytes: Math.max(...results, ...inputs.map(({ bytes }) => bytes)),
  };
}

function evenParts(count: number): Work["parts"] {
  return { cpu: Math.max(count, 1), gpu: Math.max(count, 1) };
}

/** Bytes from the first to behind the last of the elements along some dimensions. */
function spanOf(bytes: number, ...dims: readonly (readonly [count: number, stride: number])[]): number {
  return bytes * dims.reduce((span, [count, stride]) => span + Math.max(count - 1, 0) * stride, 1);
}

function rowSpan(call: RowCall, size: number): number {
  const { x, axes, shape, bias, mask } = call;
  const along = (bytes: number, strides: readonly number[] = []): number =>
    spanOf(bytes, ...axes.map((axis) => [x.shape[axis] ?? 1, strides[axis] ?? 0] as const));
  const y = resultStrides(call, contiguousStrides(shape));
  return Math.max(along(size, x.strides), along(F32_BYTES, y), along(F32_BYTES, bias?.strides), along(1, mask?.strides));
}

/** Keys are not divided, rows are into blocks; `out` is how many elements a row of the result has, and the distance to the next one. */
function headSpan({ q, k, v, bias, mask, dim, valueDim, sequences }: ScoreCall, size: number, [width, stride]: readonly [number, number]): number {
  const keys = sequences.reduce((most, { keyLength }) => Math.max(most, keyLength), 0);
  const rows = sequences.reduce((most, s) => Math.max(most, Math.min(s.rows, BLOCK_ROWS)), 0);
  // What lies with gaps in an array is sent without them.
  const along = ({ data, row, dim: step }: HeadView, count: number, columns: number): number =>
    spanOf(size, [count, step === 1 || data instanceof DeviceArray ? row : columns], [columns, 1]);
  const scores = (bytes: number, view: ScoreCall["bias" | "mask"]): number => (view === undefined ? 0 : spanOf(bytes, [rows, view.row], [keys, view.key]));
  const results = spanOf(F32_BYTES, [rows, stride], [width, 1]);
  return Math.max(along(q, rows, dim), along(k, keys, dim), along(v, keys, valueDim), scores(F32_BYTES, bias), scores(1, mask), results);
}

/** What computing scores, and with them values of `valueDim`, takes. `out`: elements of a row of the result, and the distance to the next. */
function scoreWork(
  call: ScoreCall,
  valueDim: number,
  size: number,
  out: readonly [number, number],
): Pick<Work, "kernel" | "scores" | "multiplyAdds" | "flops" | "keyBytes" | "parts" | "spanBytes"> {
  const { heads, kvHeads, dim, rule, blockMask, sequences } = call;
  const open = blockMask === undefined ? 1 : 1 - blockMask.sparsity;
  let scores = 0;
  const largest = { cpu: 0, gpu: 0 };
  let keys = 0;
  let decodes = sequences.length > 0;
  for (const sequence of sequences) {
    const { queryLength, keyLength } = sequence;
    const decode = usesDecode(call, sequence);
    const seen = heads * Math.min(visibleScores(sequence, rule), open * queryLength * keyLength);
    scores += seen;
    if (decode) keys += kvHeads * visibleKeys(sequence, rule).count;
    const widest = widestRow(sequence, rule);
    // A block of one head in prefill, a chunk of keys in decode.
    const queries = decode ? (heads / kvHeads) * queryLength : Math.min(BLOCK_ROWS, queryLength);
    largest.cpu = Math.max(largest.cpu, queries * (decode ? Math.min(CHUNK_KEYS.wasm, widest) : widest));
    largest.gpu = Math.max(largest.gpu, decode ? Math.min(DECODE_ROWS_GPU, queries) * Math.min(CHUNK_KEYS.webgpu, widest) : queries * widest);
    decodes &&= decode;
  }
  const multiplyAdds = scores * (dim + valueDim);
  return {
    kernel: decodes ? "decode" : "prefill",
    spanBytes: headSpan(call, size, out),
    scores,
    multiplyAdds,
    flops: 2 * multiplyAdds + scores * SCORE_FLOPS,
    keyBytes: keys * (dim + valueDim) * size,
    parts: { cpu: Math.max(1, scores / Math.max(largest.cpu, 1)), gpu: Math.max(1, scores / Math.max(largest.gpu, 1)) },
  };
}

/** Pairs of a query and a key that it sees, of one head: the sum over queries of the lengths that `keyRange` gives. */
export function visibleScores({ offset, queryLength, keyLength }: Sequence, rule: KeyRangeRule): number {
  const right = rule.causal ? Math.min(0, rule.windowRight) : rule.windowRight;
  // Both ends of the range of query i are i plus a constant, held between 0 and the number of keys.
  return sumClamped(offset + 1 + right, queryLength, keyLength) - sumClamped(offset - rule.windowLeft, queryLength, keyLength);
}

/** Most keys that a query sees, up to those that the end of the sequence takes away. */
function widestRow({ offset, queryLength, keyLength }: Sequence, rule: KeyRangeRule): number {
  const right = rule.causal ? Math.min(0, rule.windowRight) : rule.windowRight;
  return Math.max(0, Math.min(keyLength, rule.windowLeft + 1 + right, offset + queryLength + right));
}

/** Σ max(0, min(start + i, limit)) for i from 0 to count − 1. */
function sumClamped(start: number, count: number, limit: number): number {
  // Infinite starts are beyond either end.
  const first = Math.min(Math.max(Math.ceil(-start), 0), count);
  const last = Math.min(Math.max(limit - start, first), count);
  const rising = last - first;
  return (rising === 0 ? 0 : rising * start + ((first + last - 1) * rising) / 2) + (count - last) * limit;
}
