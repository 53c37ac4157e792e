import { attention } from "../test/reference/attention.ts";
import type { AttentionInput } from "./heads.ts";
import type { Rows } from "./inputs.ts";

// The right results: float64, the definition, no tricks. What is timed is held to these.

export function softmaxReference(input: Rows): Float64Array {
  return logSoftmaxReference(input).map(Math.exp);
}

export function logSoftmaxReference(input: Rows): Float64Array {
  const { x, rows, cols } = input;
  const lse = logSumExpReference(input);
  const y = new Float64Array(x.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) y[r * cols + c] = (x[r * cols + c] ?? NaN) - (lse[r] ?? NaN);
  }
  return y;
}

export function logSumExpReference({ x, rows, cols }: Rows): Float64Array {
  const y = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols);
    const max = row.reduce((m, value) => Math.max(m, value), -Infinity);
    y[r] = max + Math.log(row.reduce((sum, value) => sum + Math.exp(value - max), 0));
  }
  return y;
}

/** Elements that softmax is checked on where there are more: half a second of float64. */
const CHECKED_ELEMENTS = 2 ** 22;

/** Rows that softmax of a large matrix is checked on, evenly spread, the first and the last included. */
export function checkedSoftmaxRows({ rows, cols }: Rows): readonly number[] {
  return spread(rows, Math.floor(CHECKED_ELEMENTS / cols));
}

/** Softmax of the checked rows. */
export function sampledSoftmaxReference(input: Rows): Float64Array {
  const { x, cols } = input;
  const checked = checkedSoftmaxRows(input);
  const sample = new Float32Array(checked.length * cols);
  checked.forEach((row, at) => sample.set(x.subarray(row * cols, (row + 1) * cols), at * cols));
  return softmaxReference({ x: sample, rows: checked.length, cols });
}

/** Up to `wanted` of `count` numbers from 0 on, at least LEAST_ROWS of them if there are as many. */
function spread(count: number, wanted: number): readonly number[] {
  const taken = Math.min(count, Math.max(LEAST_ROWS, wanted));
  return Array.from({ length: taken }, (_, i) => (taken === 1 ? 0 : Math.round((i * (count - 1)) / (taken - 1))));
}

/** Multiplications spent on the reference of one attention case: about half a second in float64. */
const REFERENCE_BUDGET = 3e7;
/** Rows that are checked however long they are. */
const LEAST_ROWS = 16;

/**
 * Rows of [heads · queries] that attention is checked on: all of them, or as many as the reference has time for, evenly spread over
 * heads and queries, the first and the last included.
 */
export function checkedRows({ heads, queries, keys, dim }: AttentionInput): readonly number[] {
  return spread(heads * queries, Math.floor(REFERENCE_BUDGET / (2 * keys * dim)));
}

/** Attention's checked rows, one after the other. */
export function attentionReference(input: AttentionInput): Float64Array {
  const { heads, kvHeads, queries, keys, dim, modifiers } = input;
  const rows = checkedRows(input);
  const result = new Float64Array(rows.length * dim);
  rows.forEach((row, at) => {
    const head = Math.floor(row / queries);
    const query = row % queries;
    const kvHead = Math.floor(head / (heads / kvHeads));
    const part = (x: Float32Array, index: number, length: number) => ({
      values: x.subarray(index * length * dim, (index + 1) * length * dim),
      shape: [1, 1, length, dim],
    });
    const pairs = (x: Float32Array | Uint8Array) => ({ values: x.subarray(query * keys, (query + 1) * keys), shape: [keys] });
    const { causal, windowSize, softcap } = modifiers;
    const { out } = attention(part(input.q, row, 1), part(input.k, kvHead, keys), part(input.v, kvHead, keys), {
      ...{ causal, windowSize, softcap },
      queryOffset: query + keys - queries,
      alibiSlopes: input.slopes && [input.slopes[head] ?? NaN],
      bias: input.bias && pairs(input.bias),
      mask: input.mask && pairs(input.mask),
    });
    result.set(out, at * dim);
  });
  return result;
}
