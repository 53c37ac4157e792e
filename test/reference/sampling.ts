// The arbiter of sampling: float64, sorts, and imports nothing from src/.

/** Indices of a row, largest first: NaN before all numbers, equal elements by index, −0 equal to 0. */
export function descending(row: ArrayLike<number>): number[] {
  const rank = (v: number): number => (Number.isNaN(v) ? Infinity : v);
  const compare = (a: number, b: number): number => Number(Number.isNaN(b)) - Number(Number.isNaN(a)) || (rank(a) === rank(b) ? 0 : rank(b) - rank(a));
  return Array.from(row, (_, i) => i).sort((i, j) => compare(row[i] ?? 0, row[j] ?? 0) || i - j);
}

/** ln Σ exp(x · scale) over some elements of a row, relative to its max. NaN if the max is not finite. */
export function logSum(row: ArrayLike<number>, indices: readonly number[], scale = 1): { readonly max: number; readonly log: number } {
  const max = indices.reduce((m, i) => Math.max(m, row[i] ?? NaN), -Infinity);
  // The largest counts exactly 1, and log1p keeps the digits of the others.
  const at = indices.findIndex((i) => row[i] === max);
  const others = indices.reduce((sum, i, n) => (n === at ? sum : sum + Math.exp(((row[i] ?? NaN) - max) * scale)), 0);
  return { max, log: Number.isFinite(max) ? Math.log1p(others) : NaN };
}

/** The indices of the `k` largest and their log-probabilities under the softmax of the whole row. */
export function topKSoftmax(
  row: ArrayLike<number>,
  k: number,
  scale = 1,
  order = descending(row),
): { readonly indices: number[]; readonly logProbs: number[] } {
  const { max, log } = logSum(row, order, scale);
  const indices = order.slice(0, k);
  return { indices, logProbs: indices.map((i) => ((row[i] ?? NaN) - max) * scale - log) };
}
