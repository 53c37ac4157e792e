import { BYTES, type DType, type Place } from "../tensor/array.ts";
import { contiguousStrides, elementCount } from "../tensor/shape.ts";
import { type AttentionCall, type HeadOperand, type ScoreCall, type ScoreOperand, headStrides } from "./attention-call.ts";
import { BLOCK_ROWS, CHUNK_KEYS, usesDecode } from "./blocks.ts";
import { type Call, type CallKind, resultPlace } from "./call.ts";
import { visibleKeys, visibleScores, widestRow } from "./key-range.ts";
import { type MergeCall, statesOf } from "./merge-call.ts";
import { type RowCall, resultStrides } from "./row-call.ts";
import type { RotaryCall } from "./rotary-call.ts";
import type { ScoresCall } from "./scores-call.ts";

/** The properties of an operand that decide where the call runs. */
export interface WorkOperand {
  /** The argument's name, for messages. */
  readonly name: string;
  readonly place: Place;
  readonly bytes: number;
}

/** How much a call computes, regardless of its operands and where they are. Quantities that an operation lacks are 0. */
interface Quantities {
  /** Decode reads each key once for all queries, prefill once per block of queries. Chosen from the queries per key/value head. */
  readonly kernel: "rows" | "decode" | "prefill" | "merge";
  /** The longest range of an operand or result that a GPU must see at once: a row, the keys of a head, or a block of their scores. */
  readonly spanBytes: number;
  /** Elements that pass through a row operation, plus the cost of each row in elements (see ROW_ELEMENTS). */
  readonly rowElements: number;
  /** Bytes that a row operation moves to and from memory. */
  readonly rowBytes: number;
  /** Scores that some query sees, after causality, windows, lengths and block masks. */
  readonly scores: number;
  /** The multiply-adds of q·k and p·v for those scores. */
  readonly multiplyAdds: number;
  /** Two for each multiply-add, plus the cost of each score's exponential (see SCORE_FLOPS). */
  readonly flops: number;
  /** Bytes of visible keys and values if they are read once (decode). */
  readonly keyBytes: number;
  /** The work divided by its largest indivisible part. More threads, or workgroups, than that do not help. */
  readonly parts: { readonly cpu: number; readonly gpu: number };
}

/** What a call asks of a machine, in quantities that do not depend on the machine. Its time is a sum over them. */
export interface Work extends Quantities {
  /** The first operand's dtype. */
  readonly dtype: DType;
  /** Why no GPU computes it; `undefined` if a GPU does. */
  readonly onlyCpu: string | undefined;
  /** The operands that are read, and an `out` on the GPU. */
  readonly operands: readonly WorkOperand[];
  /** Where the first result goes. */
  readonly resultPlace: Place;
  /** Bytes of operands that must be sent to a GPU. */
  readonly bytesIn: number;
  /** Bytes of results that a GPU must send back. */
  readonly bytesOut: number;
  /** Bytes that the CPU copies: operands and results in the caller's arrays. */
  readonly copyBytes: number;
  /** The largest buffer that the call needs on a GPU. */
  readonly largestBytes: number;
}

/**
 * Cost of starting and ending a row on the CPU, in elements of softmax (0.6 ns each). A row of four elements takes 14 ns in softmax,
 * 38 ns in logSoftmax (one logarithm) and 160 ns in logSumExp (a logarithm, and one kernel call per row).
 */
const ROW_ELEMENTS = { softmax: 16, logSoftmax: 40, logSumExp: 120 } as const;

/** Cost of a score on top of its multiply-adds, in flops: dense attention with head dimension 16 runs at half the rate of 64. */
const SCORE_FLOPS = 64;

/** Query rows per workgroup in decode. A prefill block has 64 on both sides. */
const DECODE_ROWS_GPU = 16;

const QUANTITIES: Readonly<Record<CallKind, (call: never) => Quantities>> = {
  rows: ofRows,
  attention: ofAttention,
  scores: ofScores,
  merge: ofMerge,
  rotary: ofRotary,
};

/** The operands whose storage a GPU may read as f16, if all of them are. */
const HALVES_ON_GPU: readonly string[] = ["x", "q", "k", "v"];

/** Why no GPU computes a call: its storage, as a sentence about an argument, or its kind; `undefined` if a GPU does. */
export function onlyCpuOf(call: Call): string | undefined {
  if (call.kind === "rotary") return "rotary embedding has no GPU kernel yet";
  let first: DType | undefined;
  for (const name in call.operands) {
    const data = call.operands[name]?.data;
    if (data === undefined || name === "mask") continue;
    const dtype = (first ??= data.dtype);
    const wanted = HALVES_ON_GPU.includes(name) && dtype === "f16" ? "f16" : "f32";
    if (data.dtype === "f64") return `"${name}" has dtype f64, and WebGPU has no f64`;
    if (data.dtype !== wanted) return `"${name}" has dtype ${data.dtype}, where a GPU reads ${wanted}`;
  }
  for (const name in call.results) {
    const dtype = call.results[name]?.out?.data.dtype;
    if (dtype === "f16" || dtype === "bf16") return `"${name}" has dtype ${dtype}, where a GPU writes f32`;
  }
  return undefined;
}

/** The work of a call. With `assumed`, all operands count as being there: `explain` has shapes but no data. */
export function workOf(call: Call, assumed?: Place): Work {
  const operands: WorkOperand[] = [];
  let [dtype, target, bytesIn, bytesOut, copyBytes, largestBytes] = ["f32" as DType, "host" as Place, 0, 0, 0, 0];
  for (const name in call.operands) {
    const data = call.operands[name]?.data;
    if (data === undefined) continue;
    if (operands.length === 0) dtype = data.dtype;
    const [place, bytes] = [assumed ?? data.place, data.byteLength];
    operands.push({ name, place, bytes });
    if (place !== "gpu") bytesIn += bytes;
    if (place === "host") copyBytes += bytes;
    largestBytes = Math.max(largestBytes, bytes);
  }
  const first = operands[0]?.place ?? "host";
  let isFirst = true;
  for (const name in call.results) {
    const result = call.results[name];
    if (result === undefined) continue;
    const [place, bytes] = [resultPlace(result, first), elementCount(result.shape) * BYTES[result.dtype]];
    if (isFirst) target = place;
    isFirst = false;
    if (place !== "gpu") bytesOut += bytes;
    else if (result.out !== undefined) operands.push({ name, place, bytes });
    if (place === "host") copyBytes += bytes;
    largestBytes = Math.max(largestBytes, bytes);
  }
  return {
    ...QUANTITIES[call.kind](call as never),
    dtype,
    onlyCpu: onlyCpuOf(call),
    operands,
    resultPlace: target,
    bytesIn,
    bytesOut,
    copyBytes,
    largestBytes,
  };
}

const NO_SCORES = { scores: 0, multiplyAdds: 0, flops: 0, keyBytes: 0 } as const;

function ofRows(call: RowCall): Quantities {
  const { op, shape, axes, operands, results } = call;
  const size = BYTES[operands.x.data.dtype];
  const elements = elementCount(shape);
  const rows = axes.reduce((n, axis) => n / Math.max(shape[axis] ?? 1, 1), elements);
  const along = (bytes: number, strides: readonly number[] | undefined): number =>
    strides === undefined ? 0 : bytes * axes.reduce((span, axis) => span + Math.max((shape[axis] ?? 1) - 1, 0) * (strides[axis] ?? 0), 1);
  const y = resultStrides(call, contiguousStrides(results.out.shape));
  return {
    ...NO_SCORES,
    kernel: "rows",
    spanBytes: Math.max(along(size, operands.x.strides), along(4, y), along(4, operands.bias?.strides), along(1, operands.mask?.strides)),
    rowElements: elements + rows * ROW_ELEMENTS[op],
    rowBytes: elements * size + elementCount(results.out.shape) * BYTES[results.out.dtype],
    parts: evenParts(rows),
  };
}

/** Padded or ragged. */
function ofAttention(call: AttentionCall): Quantities {
  const { layout, results, valueDim } = call;
  const { row } = headStrides(contiguousStrides(results.out.shape), layout);
  return { ...ofHeads(call, [valueDim, row]), rowElements: 0, rowBytes: 0 };
}

/** q·k, written out, and one more pass over it. */
function ofScores(call: ScoresCall): Quantities {
  const { heads, keyLength, sequences } = call;
  const rows = heads * sequences.reduce((n, { rows }) => n + rows, 0);
  return {
    ...ofHeads(call, [keyLength, keyLength]),
    kernel: "prefill",
    rowElements: rows * (keyLength + ROW_ELEMENTS.softmax),
    rowBytes: 3 * rows * keyLength * 4,
    keyBytes: 0,
    parts: evenParts(rows / BLOCK_ROWS),
  };
}

function ofMerge(call: MergeCall): Quantities {
  const { out, lse } = call.results;
  const [elements, rows, states] = [elementCount(out.shape), elementCount(lse.shape), statesOf(call).length];
  return {
    ...NO_SCORES,
    kernel: "merge",
    spanBytes: (out.shape.at(-1) ?? 0) * 4,
    rowElements: states * (elements + rows * ROW_ELEMENTS.softmax),
    rowBytes: (states + 1) * (elements + rows) * 4,
    // Merging is not split over threads.
    parts: { ...evenParts(rows), cpu: 1 },
  };
}

function ofRotary({ sizes, results }: RotaryCall): Quantities {
  const elements = elementCount(results.out.shape);
  return { ...NO_SCORES, kernel: "rows", spanBytes: sizes.dim * 4, rowElements: elements / 2, rowBytes: elements * 8, parts: evenParts(sizes.heads) };
}

function evenParts(count: number): Work["parts"] {
  return { cpu: Math.max(count, 1), gpu: Math.max(count, 1) };
}

/** Bytes from the first element to the end of the last along some dimensions. */
function reachOf(bytes: number, ...dims: readonly (readonly [count: number, stride: number])[]): number {
  return bytes * dims.reduce((span, [count, stride]) => span + Math.max(count - 1, 0) * stride, 1);
}

/** Keys are not split; rows are split into blocks. `out` is the number of elements in a row of the result, and the distance to the next row. */
function headSpan({ operands: { q, k, v, bias, mask }, dim, valueDim, sequences }: ScoreCall, [width, stride]: readonly [number, number]): number {
  const keys = sequences.reduce((most, { keyLength }) => Math.max(most, keyLength), 0);
  const rows = sequences.reduce((most, s) => Math.max(most, Math.min(s.rows, BLOCK_ROWS)), 0);
  // An array with gaps is sent without them.
  const along = (x: HeadOperand, count: number, columns: number): number =>
    reachOf(BYTES[x.data.dtype], [count, x.dim === 1 || x.data.place === "gpu" ? x.row : columns], [columns, 1]);
  const scores = (x: ScoreOperand | undefined): number => (x === undefined ? 0 : reachOf(BYTES[x.data.dtype], [rows, x.row], [keys, x.key]));
  const values = v === undefined ? 0 : along(v, keys, valueDim);
  return Math.max(along(q, rows, dim), along(k, keys, dim), values, scores(bias), scores(mask), reachOf(4, [rows, stride], [width, 1]));
}

/** The work of computing scores, and values if there are any. `out`: elements in a row of the result, and the distance to the next row. */
function ofHeads(call: ScoreCall, out: readonly [number, number]): Omit<Quantities, "rowElements" | "rowBytes"> {
  const { heads, kvHeads, dim, valueDim, rule, blockMask, sequences, operands } = call;
  const open = blockMask === undefined ? 1 : 1 - blockMask.sparsity;
  let [scores, keys] = [0, 0];
  const largest = { cpu: 0, gpu: 0 };
  let decodes = sequences.length > 0;
  for (const sequence of sequences) {
    const { queryLength, keyLength } = sequence;
    const decode = usesDecode(call, sequence);
    scores += heads * Math.min(visibleScores(sequence, rule), open * queryLength * keyLength);
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
    spanBytes: headSpan(call, out),
    scores,
    multiplyAdds,
    flops: 2 * multiplyAdds + scores * SCORE_FLOPS,
    keyBytes: keys * (dim + valueDim) * BYTES[operands.q.data.dtype],
    parts: { cpu: Math.max(1, scores / Math.max(largest.cpu, 1)), gpu: Math.max(1, scores / Math.max(largest.gpu, 1)) },
  };
}
