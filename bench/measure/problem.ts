import { alibiSlopes, type ScoreOptions, type Tensor } from "../../src/index.ts";
import type { HeadSizes, ProductSizes, RowSizes } from "../../test/cases/shapes.ts";
import { attention } from "../../test/reference/attention.ts";
import { countOf } from "../../test/reference/indices.ts";
import { product } from "../../test/reference/product.ts";
import * as rowReference from "../../test/reference/rows.ts";
import { numbers, random } from "../../test/support/numbers.ts";

// A call with its operands and its right result: float64, the definition, no tricks.

/** One call, by its sizes. */
export type Call = RowSizes | HeadSizes | ProductSizes;

/** A call and what it computes on. Operands are `x`, `x` and the weight, or `q`, `k` and `v`. */
export interface Problem {
  readonly call: Call;
  readonly operands: readonly Tensor<"f32">[];
  readonly outShape: readonly number[];
  readonly options: ScoreOptions;
  /** What the scores are near: 0, or 100, where exp overflows. */
  readonly heat: number;
}

/** Standard deviation of rows: about that of a language model's logits. */
const ROW_SPREAD = 4;
/** exp(100) is far above the largest f32. */
const HEAT = 100;
/** Part of the pairs that the random mask removes. */
const MASKED = 0.1;
/** That of `numbers("normal")`. */
const NORMAL_SPREAD = 2;
/** Numbers are drawn this many at a time and then repeated: a prime, so that no two rows are the same. */
const DRAWN = 1_000_003;

const drawn = new Map<number, Float32Array>();

/** Normally distributed numbers, the same ones each time; a seed has one spread. */
function normal(shape: readonly number[], seed: number, spread = 1): Tensor<"f32"> {
  const source = drawn.get(seed) ?? numbers("normal", DRAWN, seed).map((value) => (value * spread) / NORMAL_SPREAD);
  drawn.set(seed, source);
  const data = new Float32Array(countOf(shape));
  for (let at = 0; at < data.length; at += DRAWN) data.set(source.subarray(0, data.length - at), at);
  return { data, shape, dtype: "f32" };
}

/** Draws the operands of a call. */
export function draw(call: Call): Problem {
  if (call.op === "linear") {
    const { rows, cols, depth } = call;
    return { call, operands: [normal([rows, depth], 1), normal([cols, depth], 2)], outShape: [rows, cols], options: {}, heat: 0 };
  }
  if (call.op !== "attention") {
    const { op, rows, cols } = call;
    return { call, operands: [normal([rows, cols], 0, ROW_SPREAD)], outShape: op === "logSumExp" ? [rows] : [rows, cols], options: {}, heat: 0 };
  }
  const { heads, kvHeads, queries, keys, dim } = call;
  const operands = [normal([heads, queries, dim], 1), normal([kvHeads, keys, dim], 2), normal([kvHeads, keys, dim], 3)];
  return withOptions({ call, operands, outShape: [heads, queries, dim], options: {}, heat: 0 }, call);
}

/** The same operands, and other options: those of `options` alone. */
export function withOptions(problem: Problem, { causal, windowSize, softcap, mask, bias, alibi }: Partial<HeadSizes>): Problem {
  const { call } = problem;
  if (call.op !== "attention") return problem;
  const { heads, queries, keys } = call;
  const next = random(queries + keys);
  const options: ScoreOptions = {
    ...{ causal, windowSize, softcap },
    mask: mask && { data: Uint8Array.from({ length: queries * keys }, () => (next() < MASKED ? 0 : 1)), shape: [queries, keys] },
    bias: bias && normal([queries, keys], 4),
    alibiSlopes: alibi && alibiSlopes(heads),
  };
  return { ...problem, call: { ...call, causal, windowSize, softcap, mask, bias, alibi }, options };
}

/** Verified and not timed, so this is enough: several tiles of queries and keys. */
const HOT_LENGTH = 320;

/** A like problem whose scores are all near 100: exp overflows unless the max is subtracted. */
export function heated(problem: Problem): Problem {
  const { call } = problem;
  // There is no exponential.
  if (call.op === "linear") return draw({ ...call, rows: Math.min(call.rows, LEAST_ROWS) });
  if (call.op !== "attention") {
    const rows = Math.min(call.rows, Math.ceil(CHECKED_ELEMENTS / call.cols));
    const hot = draw({ ...call, rows });
    for (const { data } of hot.operands) data.forEach((value, i) => (data[i] = value + HEAT));
    return { ...hot, heat: HEAT };
  }
  const queries = Math.min(call.queries, HOT_LENGTH);
  const hot = draw({ ...call, queries, keys: Math.min(call.keys, Math.max(queries, HOT_LENGTH)) });
  // One component of each query and key carries the heat: their product, times 1/√dim, is HEAT.
  const shift = Math.sqrt(HEAT * Math.sqrt(call.dim));
  for (const { data } of hot.operands.slice(0, 2)) for (let i = 0; i < data.length; i += call.dim) data[i] = shift;
  return { ...hot, heat: HEAT };
}

/** Elements of rows, and multiplications of attention, that the reference is given: about half a second in float64. */
const CHECKED_ELEMENTS = 2 ** 22;
const CHECKED_PRODUCTS = 3e7;
/** Rows that are checked however long they are. */
const LEAST_ROWS = 16;

/** Rows of the result that are checked: all, or as many as there is time for, evenly spread, the first and the last included. */
function checkedRows({ call }: Problem): readonly number[] {
  const isAttention = call.op === "attention";
  const count = isAttention ? call.heads * call.queries : call.rows;
  const affordable = isAttention
    ? CHECKED_PRODUCTS / (2 * call.keys * call.dim)
    : call.op === "linear"
      ? CHECKED_PRODUCTS / (call.cols * call.depth)
      : CHECKED_ELEMENTS / call.cols;
  const taken = Math.min(count, Math.max(LEAST_ROWS, Math.floor(affordable)));
  return Array.from({ length: taken }, (_, i) => (taken === 1 ? 0 : Math.round((i * (count - 1)) / (taken - 1))));
}

/** The checked rows of the right result, one after the other. */
export function reference(problem: Problem): Float64Array {
  const { call, operands } = problem;
  const rows = checkedRows(problem);
  if (call.op === "attention") return attentionRows(problem, call, rows);
  if (call.op === "linear") {
    const [x, weight] = operands.map(({ data }) => data);
    return product(rowsOf(x ?? new Float32Array(0), rows, call.depth), weight ?? new Float32Array(0), rows.length, call.cols, call.depth).values;
  }
  const values = rowsOf(operands[0]?.data ?? new Float32Array(0), rows, call.cols);
  return rowReference[call.op]({ values, shape: [rows.length, call.cols] }, { axes: [1] });
}

function attentionRows({ operands: [q, k, v], options }: Problem, call: HeadSizes, rows: readonly number[]): Float64Array {
  const { heads, kvHeads, queries, keys, dim } = call;
  const { mask, bias, alibiSlopes: slopes } = options;
  const result = new Float64Array(rows.length * dim);
  rows.forEach((row, at) => {
    const head = Math.floor(row / queries);
    const query = row % queries;
    const kvHead = Math.floor(head / (heads / kvHeads));
    const part = (x: Tensor<"f32"> | undefined, index: number, length: number) => ({
      values: x?.data.subarray(index * length * dim, (index + 1) * length * dim) ?? [],
      shape: [1, 1, length, dim],
    });
    const pairs = (x: unknown) => ({ values: (x as Tensor<"f32" | "u8">).data.subarray(query * keys, (query + 1) * keys), shape: [keys] });
    const { out } = attention(part(q, row, 1), part(k, kvHead, keys), part(v, kvHead, keys), {
      ...{ causal: call.causal, windowSize: call.windowSize, softcap: call.softcap },
      queryOffset: query + keys - queries,
      alibiSlopes: slopes && [slopes[head] ?? NaN],
      bias: bias && pairs(bias),
      mask: mask && pairs(mask),
    });
    result.set(out, at * dim);
  });
  return result;
}

/** What of a result is compared with the reference. The rest must at least have been written: outputs are NaN before a call. */
export function checkedPart(got: Float32Array, problem: Problem): Float32Array {
  const { outShape } = problem;
  if (got.length !== countOf(outShape)) throw new Error(`expected ${countOf(outShape)} numbers, got ${got.length}`);
  const rows = checkedRows(problem);
  const width = problem.call.op === "logSumExp" ? 1 : (outShape.at(-1) ?? 1);
  if (rows.length * width === got.length) return got;
  const wrong = got.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw new Error(`element ${wrong} is ${got[wrong]}`);
  return rowsOf(got, rows, width);
}

function rowsOf(values: Float32Array, rows: readonly number[], width: number): Float32Array {
  const part = new Float32Array(rows.length * width);
  rows.forEach((row, at) => part.set(values.subarray(row * width, (row + 1) * width), at * width));
  return part;
}

/** Query–key pairs that are visible by causality and window, in all heads. Masks do not count: what they hide is computed. */
function visiblePairs({ heads, queries, keys, causal, windowSize: [left, right] = [Infinity, Infinity] }: HeadSizes): number {
  let pairs = 0;
  for (let i = 0; i < queries; i++) {
    const position = i + keys - queries;
    const last = Math.min(keys - 1, position + (causal ? 0 : right));
    pairs += Math.max(0, last - Math.max(0, position - left) + 1);
  }
  return heads * pairs;
}

/** What counts as work: elements of rows, two operations per multiply-add of a product, 4 · head dimension operations per visible pair of attention. */
export function amountOf(call: Call): number {
  if (call.op === "linear") return 2 * call.rows * call.cols * call.depth;
  return call.op === "attention" ? 4 * call.dim * visiblePairs(call) : call.rows * call.cols;
}

/** Bytes that must be read and written. */
export function bytesOf(call: Call): number {
  if (call.op === "linear") return 4 * (call.rows * call.depth + call.cols * call.depth + call.rows * call.cols);
  if (call.op !== "attention") return (call.op === "logSumExp" ? 4 : 8) * call.rows * call.cols;
  return 8 * call.heads * call.queries * call.dim + cacheBytesOf(call);
}

/** Bytes of keys and values. */
export function cacheBytesOf({ kvHeads, keys, dim }: HeadSizes): number {
  return 8 * kvHeads * keys * dim;
}
