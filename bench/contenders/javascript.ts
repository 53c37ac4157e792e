import { countOf } from "../../test/reference/indices.ts";
import type { HeadSizes, ProductSizes, RowSizes } from "../../test/cases/shapes.ts";
import type { Contender, Runner } from "../measure/contender.ts";
import { amountOf, type Call, type Problem } from "../measure/problem.ts";
import { toleranceOf } from "../measure/verify.ts";

// What one writes without a library: the safe formula in plain loops, on Float32Array, arithmetic in float64.

type Loop = (x: Float32Array, rows: number, cols: number, y: Float32Array) => void;

const softmaxLoop: Loop = (x, rows, cols, y) => {
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

const logSoftmaxLoop: Loop = (x, rows, cols, y) => {
  const lse = new Float32Array(rows);
  logSumExpLoop(x, rows, cols, lse);
  for (let r = 0; r < rows; r++) {
    for (let i = r * cols; i < (r + 1) * cols; i++) y[i] = x[i]! - lse[r]!;
  }
};

const logSumExpLoop: Loop = (x, rows, cols, y) => {
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

const LOOPS: Readonly<Record<RowSizes["op"], Loop>> = { softmax: softmaxLoop, logSoftmax: logSoftmaxLoop, logSumExp: logSumExpLoop };

function linearLoop({ rows, cols, depth }: ProductSizes, x: Float32Array, weight: Float32Array, y: Float32Array): void {
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      let sum = 0;
      for (let k = 0; k < depth; k++) sum += x[r * depth + k]! * weight[c * depth + k]!;
      y[r * cols + c] = sum;
    }
  }
}

/** Attention in three steps over the whole matrix of scores, which is stored: q·kᵀ, softmax, times v. */
function attentionLoop(call: HeadSizes, [q, k, v]: readonly [Float32Array, Float32Array, Float32Array], scores: Float32Array, out: Float32Array): void {
  const { heads, kvHeads, queries, keys, dim, causal } = call;
  const scale = 1 / Math.sqrt(dim);
  const firstKey = (row: number): number => Math.floor(Math.floor(row / queries) / (heads / kvHeads)) * keys;
  const visible = (row: number): number => (causal ? Math.min(keys, (row % queries) + keys - queries + 1) : keys);
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
    softmaxLoop(x, 1, x.length, x);
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

function prepare({ call, operands, outShape }: Problem): Runner {
  const [x, ...kv] = operands.map(({ data }) => data) as [Float32Array, Float32Array, Float32Array];
  const out = new Float32Array(countOf(outShape));
  const scores = new Float32Array(call.op === "attention" ? call.heads * call.queries * call.keys : 0);
  const run = (): void => {
    if (call.op === "attention") attentionLoop(call, [x, ...kv], scores, out);
    else if (call.op === "linear") linearLoop(call, x, kv[0], out);
    else LOOPS[call.op](x, call.rows, call.cols, out);
  };
  return { run, read: () => out, clear: () => out.fill(NaN) };
}

/** Operations of the longest calls that are made: one to two seconds, and half a second in quick mode. */
const LONGEST_FLOPS = 1e9;
const LONGEST_QUICK_FLOPS = 2.5e8;

/** Plain loops, where they do not take too long. */
export function plainJavascript(call: Call, quick = false): Contender {
  const contender = { name: "plain JavaScript", group: "javascript", prepare } as const;
  if (call.op === "linear")
    return {
      ...contender,
      skipped: amountOf(call) > (quick ? LONGEST_QUICK_FLOPS : LONGEST_FLOPS) ? "a call would take seconds" : undefined,
      tolerance: (problem) => toleranceOf(problem, "wasm"),
    };
  if (call.op !== "attention") return { ...contender, tolerance: (problem) => toleranceOf(problem, "wasm") };
  const isLong = amountOf(call) > (quick ? LONGEST_QUICK_FLOPS : LONGEST_FLOPS);
  const hasMore = call.softcap !== undefined || call.windowSize !== undefined;
  return {
    ...contender,
    note: "three steps, the whole matrix",
    skipped: isLong ? "a call would take seconds" : hasMore ? "its loops have no softcap and no window" : undefined,
    tolerance: (problem) => toleranceOf(problem, "other"),
  };
}
