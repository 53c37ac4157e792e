import type { Contender } from "../contender.ts";
import { normalHeads, visiblePairs, type AttentionInput, type HeadShape, type Modifiers } from "../heads.ts";
import type { Rows } from "../inputs.ts";
import { duration } from "../report/format.ts";
import { ownTolerance, peerAttentionTolerance } from "../verify.ts";

// What one writes without a library: the safe formula in plain loops, on Float32Array, arithmetic in float64.

type Loop = (input: Rows, y: Float32Array) => void;

const softmaxLoop: Loop = ({ x, rows, cols }, y) => {
  for (let r = 0; r < rows; r++) {
    const start = r * cols;
    const end = start + cols;
    let max = -Infinity;
    for (let i = start; i < end; i++) max = Math.max(max, x[i]!);
    let sum = 0;
    for (let i = start; i < end; i++) {
      const e = Math.exp(x[i]! - max);
      y[i] = e;
      sum += e;
    }
    for (let i = start; i < end; i++) y[i] = y[i]! / sum;
  }
};

const logSoftmaxLoop: Loop = ({ x, rows, cols }, y) => {
  const lse = new Float32Array(rows);
  logSumExpLoop({ x, rows, cols }, lse);
  for (let r = 0; r < rows; r++) {
    for (let i = r * cols; i < (r + 1) * cols; i++) y[i] = x[i]! - lse[r]!;
  }
};

const logSumExpLoop: Loop = ({ x, rows, cols }, y) => {
  for (let r = 0; r < rows; r++) {
    const start = r * cols;
    const end = start + cols;
    let max = -Infinity;
    for (let i = start; i < end; i++) max = Math.max(max, x[i]!);
    let sum = 0;
    for (let i = start; i < end; i++) sum += Math.exp(x[i]! - max);
    y[r] = max + Math.log(sum);
  }
};

function javascript(loop: Loop, resultLength: (input: Rows) => number): Contender<Rows> {
  return {
    name: "plain JavaScript",
    group: "javascript",
    tolerance: ownTolerance,
    prepare(input) {
      const y = new Float32Array(resultLength(input));
      return { run: () => loop(input, y), read: () => y, clear: () => y.fill(NaN) };
    },
  };
}

export const javascriptSoftmax = javascript(softmaxLoop, ({ x }) => x.length);
export const javascriptLogSoftmax = javascript(logSoftmaxLoop, ({ x }) => x.length);
export const javascriptLogSumExp = javascript(logSumExpLoop, ({ rows }) => rows);

/** Attention in three steps over the whole matrix of scores, which is stored: q·kᵀ, softmax, times v. */
function attentionLoop(input: AttentionInput, scores: Float32Array, out: Float32Array): void {
  const { heads, kvHeads, queries, keys, dim, q, k, v, modifiers } = input;
  const scale = 1 / Math.sqrt(dim);
  const firstKey = (row: number): number => Math.floor(Math.floor(row / queries) / (heads / kvHeads)) * keys;
  const visible = (row: number): number => (modifiers.causal ? Math.min(keys, (row % queries) + keys - queries + 1) : keys);
  for (let row = 0; row < heads * queries; row++) {
    for (let j = 0; j < visible(row); j++) {
      const at = (firstKey(row) + j) * dim;
      let sum = 0;
      for (let e = 0; e < dim; e++) sum += q[row * dim + e]! * k[at + e]!;
      scores[row * keys + j] = scale * sum;
    }
  }
  for (let row = 0; row < heads * queries; row++) {
    const x = scores.subarray(row * keys, row * keys + visible(row));
    softmaxLoop({ x, rows: 1, cols: x.length }, x);
  }
  out.fill(0);
  for (let row = 0; row < heads * queries; row++) {
    for (let j = 0; j < visible(row); j++) {
      const p = scores[row * keys + j]!;
      const at = (firstKey(row) + j) * dim;
      for (let e = 0; e < dim; e++) out[row * dim + e] = out[row * dim + e]! + p * v[at + e]!;
    }
  }
}

function prepareAttention(input: AttentionInput) {
  const { heads, queries, keys, q } = input;
  const scores = new Float32Array(heads * queries * keys);
  const out = new Float32Array(q.length);
  return { run: () => attentionLoop(input, scores, out), read: () => out, clear: () => out.fill(NaN) };
}

/** Longer calls than this are left out. */
const LONGEST_MS = 2000;
const LONGEST_QUICK_MS = 500;

let attentionMs: number | undefined;

/** Milliseconds that the three steps take for one product of a query's and a key's component, from a small call. */
function timePerProduct(): number {
  const probe: HeadShape = { heads: 1, kvHeads: 1, queries: 256, keys: 256, dim: 64 };
  const { run } = prepareAttention(normalHeads(probe));
  const times = Array.from({ length: 5 }, () => {
    const start = performance.now();
    run();
    return performance.now() - start;
  });
  return Math.min(...times) / (visiblePairs(probe, {}) * probe.dim);
}

/** Attention in plain loops, where that does not take too long. */
export function javascriptAttention(shape: HeadShape, modifiers: Modifiers = {}, quick = false): Contender<AttentionInput> {
  attentionMs ??= timePerProduct();
  const ms = attentionMs * visiblePairs(shape, modifiers) * shape.dim;
  const unknown = Object.keys(modifiers).filter((option) => option !== "causal");
  const isLong = ms > (quick ? LONGEST_QUICK_MS : LONGEST_MS);
  return {
    name: "plain JavaScript",
    group: "javascript",
    note: "three steps, the whole matrix",
    skipped: isLong ? `a call would take about ${duration(ms)}` : unknown.length > 0 ? `its loops have no ${unknown.join(", ")}` : undefined,
    tolerance: peerAttentionTolerance,
    prepare: prepareAttention,
  };
}
