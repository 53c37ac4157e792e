/** x · wᵀ + bias in f64, for matrices of `rows` and `cols` rows of `depth` numbers; and each sum of magnitudes, the scale of its error. */
export function product(
  x: Float32Array,
  w: Float32Array,
  rows: number,
  cols: number,
  depth: number,
  bias?: Float32Array,
): { values: Float64Array; magnitudes: Float64Array } {
  const values = new Float64Array(rows * cols);
  const magnitudes = new Float64Array(rows * cols);
  for (let i = 0; i < values.length; i++) {
    const [m, n] = [Math.floor(i / cols), i % cols];
    let [sum, magnitude] = [bias?.[n] ?? 0, Math.abs(bias?.[n] ?? 0)];
    for (let k = 0; k < depth; k++) {
      const term = (x[m * depth + k] ?? NaN) * (w[n * depth + k] ?? NaN);
      sum += term;
      magnitude += Math.abs(term);
    }
    values[i] = sum;
    magnitudes[i] = magnitude;
  }
  return { values, magnitudes };
}

/** The same as a plain loop in f32, one term after the other. */
export function plainProduct(x: Float32Array, w: Float32Array, rows: number, cols: number, depth: number, bias?: Float32Array): Float32Array {
  const values = new Float32Array(rows * cols);
  for (let i = 0; i < values.length; i++) {
    const [m, n] = [Math.floor(i / cols), i % cols];
    let sum = bias?.[n] ?? 0;
    for (let k = 0; k < depth; k++) sum = Math.fround(sum + Math.fround((x[m * depth + k] ?? NaN) * (w[n * depth + k] ?? NaN)));
    values[i] = sum;
  }
  return values;
}
