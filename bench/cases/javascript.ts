import type { Contender } from "../contender.ts";
import type { Rows } from "../inputs.ts";
import { ownTolerance } from "../verify.ts";

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
