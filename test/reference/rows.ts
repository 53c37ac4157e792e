// The arbiter of the row operations: float64, naive, and independent of src/. Every special case is spelled out where the
// kernels rely on IEEE arithmetic to come out right.
import { broadcastIndices, rowIndices } from "./indices.ts";

/** Numbers and the shape they fill in row-major order. */
export interface Operand {
  readonly values: ArrayLike<number>;
  readonly shape: readonly number[];
}

/** Options of the three operations; `axes` are distinct and not negative. */
export interface ReferenceOptions {
  readonly axes: readonly number[];
  readonly scale?: number | undefined;
  readonly bias?: Operand | undefined;
  readonly mask?: Operand | undefined;
  readonly safe?: boolean | undefined;
}

/** exp(x) / Σ exp(x) over the axes. */
export function softmax(x: Operand, options: ReferenceOptions): Float64Array {
  return mapRows(x, options, (row) => {
    const { max, sum, hasNaN } = stateOf(row);
    if (hasNaN || max === Infinity) return row.fill(NaN);
    if (max === -Infinity) return row.fill(options.safe === true ? 0 : NaN);
    return row.map((v) => Math.exp(v - max) / sum);
  });
}

/** x − log Σ exp(x) over the axes. */
export function logSoftmax(x: Operand, options: ReferenceOptions): Float64Array {
  return mapRows(x, options, (row) => {
    const { max, sum, hasNaN } = stateOf(row);
    if (hasNaN || max === Infinity) return row.fill(NaN);
    if (max === -Infinity) return row.fill(options.safe === true ? -Infinity : NaN);
    return row.map((v) => v - max - Math.log(sum));
  });
}

/** log Σ exp(x) over the axes: one number per row, in row-major order of the dimensions that stay. */
export function logSumExp(x: Operand, options: ReferenceOptions): Float64Array {
  const scores = modified(x, options);
  const results: number[] = [];
  for (const indices of rowIndices(x.shape, options.axes)) {
    const { max, sum, hasNaN } = stateOf(pick(scores, indices));
    results.push(hasNaN ? NaN : Math.abs(max) === Infinity ? max : max + Math.log(sum));
  }
  return Float64Array.from(results);
}

/** The scores that enter the exponential: keep ? x · scale + bias : −inf. */
function modified(x: Operand, { scale = 1, bias, mask }: ReferenceOptions): Float64Array {
  const scores = Float64Array.from(x.values);
  if (scale !== 1) scores.forEach((v, i) => (scores[i] = v * scale));
  if (bias !== undefined) broadcastIndices(bias.shape, x.shape).forEach((from, i) => (scores[i] = (scores[i] ?? NaN) + (bias.values[from] ?? NaN)));
  if (mask !== undefined) broadcastIndices(mask.shape, x.shape).forEach((from, i) => mask.values[from] === 0 && (scores[i] = -Infinity));
  return scores;
}

function mapRows(x: Operand, options: ReferenceOptions, f: (row: Float64Array) => Float64Array): Float64Array {
  const scores = modified(x, options);
  const result = new Float64Array(scores.length);
  for (const indices of rowIndices(x.shape, options.axes)) {
    const row = f(pick(scores, indices));
    for (let n = 0; n < row.length; n++) result[indices[n] ?? -1] = row[n] ?? NaN;
  }
  return result;
}

function pick(scores: Float64Array, indices: Int32Array): Float64Array {
  const row = new Float64Array(indices.length);
  for (let n = 0; n < row.length; n++) row[n] = scores[indices[n] ?? -1] ?? NaN;
  return row;
}

/** Max and Σ exp(x − max) of one row, the sum compensated (Neumaier): a plain one is off by 1e-10 after four million terms. */
function stateOf(row: Float64Array): { max: number; sum: number; hasNaN: boolean } {
  let max = -Infinity;
  let hasNaN = false;
  for (const v of row) {
    if (Number.isNaN(v)) hasNaN = true;
    if (v > max) max = v;
  }
  let sum = 0;
  let lost = 0;
  if (Number.isFinite(max)) {
    for (const v of row) {
      const e = Math.exp(v - max);
      const next = sum + e;
      lost += Math.abs(sum) >= e ? sum - next + e : e - next + sum;
      sum = next;
    }
  }
  return { max, sum: sum + lost, hasNaN };
}
