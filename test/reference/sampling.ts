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

/** Options of `sample`, as far as they concern one row. */
export interface SampleReference {
  readonly logitBias?: Readonly<Record<number, number>>;
  readonly previous?: readonly number[];
  readonly repetitionPenalty?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly temperature?: number;
  readonly temperatureLast?: boolean;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
}

/** The probabilities that a token is drawn from: what the filters keep, in the order of indices. */
export function distribution(logits: ArrayLike<number>, options: SampleReference): { readonly kept: number[]; readonly probs: number[] } {
  const row = adjusted(logits, options);
  const { temperature = 1, temperatureLast = false, topK = 0, topP = 1, minP = 0 } = options;
  const order = descending(row);
  const max = row[order[0] ?? 0] ?? NaN;
  const weights =
    (scale: number): ((i: number) => number) =>
    (i) =>
      Math.exp(((row[i] ?? NaN) - max) * scale);
  if (temperature === 0) return { kept: order.slice(0, 1), probs: [1] };
  const weight = weights(temperatureLast ? 1 : 1 / temperature);
  let kept = topK > 0 ? order.slice(0, topK) : order;
  if (topP < 1) {
    const goal = topP * sum(kept.map(weight));
    let reached = 0;
    const count = kept.findIndex((i) => (reached += weight(i)) >= goal);
    if (count >= 0) kept = kept.slice(0, count + 1);
  }
  kept = kept.filter((i, n) => n === 0 || weight(i) >= minP).sort((a, b) => a - b);
  const final = kept.map(weights(1 / temperature));
  const total = sum(final);
  return { kept, probs: final.map((w) => w / total) };
}

/** Logits with bias and penalties. They are f32 again afterwards. */
function adjusted(logits: ArrayLike<number>, options: SampleReference): number[] {
  const { logitBias = {}, previous = [], repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
  return Array.from(logits, (logit, token) => {
    const times = previous.filter((t) => t === token).length;
    let v = logit + (logitBias[token] ?? 0);
    if (times > 0) v = (v > 0 ? v / repetitionPenalty : v * repetitionPenalty) - times * frequencyPenalty - presencePenalty;
    return Math.fround(v);
  });
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/** Philox4x32-10 in whole numbers of any size: four words from a counter of four and a key of two. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  const low = (v: bigint): bigint => v & 0xffffffffn;
  let [a = 0n, b = 0n, c = 0n, d = 0n] = counter.map(BigInt);
  let [k = 0n, l = 0n] = key.map(BigInt);
  for (let round = 0; round < 10; round++) {
    const [p, q] = [0xd2511f53n * a, 0xcd9e8d57n * c];
    [a, b, c, d] = [(q >> 32n) ^ b ^ k, low(q), (p >> 32n) ^ d ^ l, low(p)];
    [k, l] = [low(k + 0x9e3779b9n), low(l + 0xbb67ae85n)];
  }
  return [a, b, c, d].map(Number);
}

/** The uniform number of a row: 53 bits of the generator. */
export function uniform(seed: number, step: number, row: number): number {
  const words = (n: number): number[] => [n % 2 ** 32, Math.floor(n / 2 ** 32)];
  const [first = 0, second = 0] = philox([...words(step), row, 0], words(seed));
  return ((first >>> 5) * 2 ** 26 + (second >>> 6)) / 2 ** 53;
}

/** Cross-entropy of a row and its gradient, with a share of `smoothing` spread over all classes. */
export function crossEntropy(row: ArrayLike<number>, target: number, smoothing = 0): { readonly loss: number; readonly grad: number[] } {
  const all = Array.from(row, (_, i) => i);
  const { max, log } = logSum(row, all);
  const logProb = (i: number): number => (row[i] ?? NaN) - max - log;
  const share = (i: number): number => smoothing / row.length + (i === target ? 1 - smoothing : 0);
  const loss = sum(all.map((i) => (share(i) === 0 ? 0 * log : -share(i) * logProb(i))));
  // Where the target dominates, softmax − 1 is what the others have, without a digit lost.
  const others = 0 * log + sum(all.map((i) => (i === target ? 0 : Math.exp(logProb(i)))));
  return { loss, grad: all.map((i) => (i === target ? -others + 1 - share(i) : Math.exp(logProb(i)) - share(i))) };
}
