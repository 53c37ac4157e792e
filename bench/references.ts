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
