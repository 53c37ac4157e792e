/** Rows of f32, one after the other. */
export interface Rows {
  readonly x: Float32Array;
  readonly rows: number;
  readonly cols: number;
}

/** Standard deviation of the inputs: about that of a language model's logits. */
const SPREAD = 4;
/** Added to make an input hot: exp(100) is far above the largest f32. */
const HEAT = 100;

/** Normally distributed rows; the same ones each time. */
export function normalRows(rows: number, cols: number): Rows {
  const draw = standardNormal(rows * 31 + cols);
  const x = new Float32Array(rows * cols);
  for (let i = 0; i < x.length; i++) x[i] = SPREAD * draw();
  return { x, rows, cols };
}

/** Rows for matrices too large to draw each number of. */
export function repeatedRows(rows: number, cols: number): Rows {
  const draw = standardNormal(rows * 31 + cols);
  return { x: repeated(rows * cols, () => SPREAD * draw()), rows, cols };
}

/** The same rows, moved to where exp overflows: softmax is the same up to rounding, if the max is subtracted. */
export function hotRows({ x, rows, cols }: Rows): Rows {
  return { x: x.map((value) => value + HEAT), rows, cols };
}

/** Numbers are drawn this many at a time and then repeated: a prime, so that no two rows are the same. */
const DRAWN = 1_000_003;

/** As many drawn numbers, in less time than it takes to draw each of them. */
export function repeated(count: number, draw: () => number): Float32Array {
  const values = new Float32Array(count);
  const drawn = Math.min(count, DRAWN);
  for (let i = 0; i < drawn; i++) values[i] = draw();
  for (let at = drawn; at < count; at += drawn) values.copyWithin(at, 0, Math.min(drawn, count - at));
  return values;
}

/** Normally distributed numbers of deviation 1 from a seed (Box and Muller's method, which makes two at a time). */
export function standardNormal(seed: number): () => number {
  const random = uniform(seed);
  let second: number | undefined;
  return () => {
    if (second !== undefined) {
      const value = second;
      second = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    second = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/** Uniform numbers in [0, 1) from a seed (mulberry32). */
export function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
