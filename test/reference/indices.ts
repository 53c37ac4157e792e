// Walking shapes, the slow and obvious way.

/** Row-major strides in elements. */
export function stridesOf(shape: readonly number[]): number[] {
  return shape.map((_, d) => countOf(shape.slice(d + 1)));
}

/** Number of elements. */
export function countOf(shape: readonly number[]): number {
  return shape.reduce((n, size) => n * size, 1);
}

/** The offset of every element of `shape`, in row-major order, under the given strides. */
export function offsetsOf(shape: readonly number[], strides: readonly number[]): Int32Array {
  let offsets = new Int32Array(countOf(shape) === 0 ? 0 : 1);
  shape.forEach((size, d) => {
    const outer = offsets;
    offsets = new Int32Array(outer.length * size);
    for (let o = 0; o < outer.length; o++) for (let i = 0; i < size; i++) offsets[o * size + i] = (outer[o] ?? 0) + i * (strides[d] ?? 0);
  });
  return offsets;
}

/** For every element of `target`, where the element of a tensor of `shape` that broadcasts to it (right-aligned) lies. */
export function broadcastIndices(shape: readonly number[], target: readonly number[]): Int32Array {
  const lead = target.length - shape.length;
  const strides = stridesOf(shape);
  return offsetsOf(
    target,
    target.map((_, d) => (d < lead || shape[d - lead] === 1 ? 0 : (strides[d - lead] ?? 0))),
  );
}

/** The flat indices of every row, a row being what lies along `axes`. An empty axis gives empty rows. */
export function* rowIndices(shape: readonly number[], axes: readonly number[]): Generator<Int32Array> {
  const strides = stridesOf(shape);
  const pick = (from: readonly number[], inAxes: boolean): number[] => from.filter((_, d) => axes.includes(d) === inAxes);
  const along = offsetsOf(pick(shape, true), pick(strides, true));
  for (const base of offsetsOf(pick(shape, false), pick(strides, false))) yield along.map((offset) => base + offset);
}
