// What every program here computes with the installed package: softmax and attention over inputs that cross the edges of tiles, with values
// whose exponentials overflow without the max. It reports inputs and results; test/package/report.ts judges them.

/** The same numbers in every engine: integer arithmetic, exact in f32. */
function noise(count, seed, amplitude) {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state >> 16) / 32768) * amplitude;
  });
}

const SHAPES = { x: [5, 1031], q: [1, 4, 70, 24], k: [1, 2, 517, 24], v: [1, 2, 517, 20] };
const AMPLITUDES = { x: 120, q: 2, k: 2, v: 1 };
const inputs = Object.fromEntries(
  Object.entries(SHAPES).map(([name, shape], i) => [
    name,
    {
      shape,
      data: noise(
        shape.reduce((a, b) => a * b),
        i + 1,
        AMPLITUDES[name],
      ),
    },
  ]),
);

const numbers = ({ shape, data }) => ({ shape, values: [...data] });

/** The inputs, as numbers. */
export const SAMPLE = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, numbers(tensor)]));

/** Results of `on`: the package itself, an instance of it or an engine; or the error it throws. */
export async function compute(on) {
  try {
    const { x, q, k, v } = inputs;
    const p = await on.softmax(x);
    const { out, lse } = await on.attention(q, k, v, { causal: true, returnLse: true });
    return { softmax: numbers(p), attention: numbers(out), lse: numbers(lse) };
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
}
