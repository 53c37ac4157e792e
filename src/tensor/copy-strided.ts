/** What can be copied: typed arrays with elements of the same size. Only the bits matter. */
export interface Copyable {
  readonly length: number;
  [index: number]: number;
  set(array: ArrayLike<number>, offset?: number): void;
  subarray(begin?: number, end?: number): ArrayLike<number>;
}

/** One dimension of a copy: its size, and its strides in the source and in the destination, in elements. */
export interface CopyDim {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Below this many elements a loop beats `TypedArray.set`, which costs about 60 ns even for tiny copies. */
const MIN_BLOCK_COPY = 32;

/**
 * Copies elements between strided arrays, in runs as long as the strides allow. A dimension whose `to` is 0 repeats, and is copied
 * once.
 */
export function copyStrided(src: Copyable, srcAt: number, dst: Copyable, dstAt: number, given: readonly CopyDim[]): void {
  const only = given[0];
  if (given.length === 1 && only !== undefined && only.to !== 0) {
    copyRun(src, srcAt, dst, dstAt, only);
    return;
  }
  const dims: CopyDim[] = [];
  for (const dim of given) {
    if (dim.size === 0) return;
    if (dim.size > 1 && dim.to !== 0) dims.push(dim);
  }
  if (dims.length > 1) {
    dims.sort((a, b) => b.to - a.to);
    joinDims(dims);
    const inner = dims.at(-1);
    // There are no runs: at least keep the reads close together.
    if (inner !== undefined && (inner.from !== 1 || inner.to !== 1)) dims.sort((a, b) => b.from - a.from);
  }
  copyDims(src, srcAt, dst, dstAt, dims, 0);
}

/** Joins neighbouring dimensions that a single stride covers on both sides. */
function joinDims(dims: CopyDim[]): void {
  let last = 0;
  for (let d = 1; d < dims.length; d++) {
    const [outer, inner] = [dims[last], dims[d]];
    if (outer === undefined || inner === undefined) continue;
    if (outer.from === inner.size * inner.from && outer.to === inner.size * inner.to) dims[last] = { ...inner, size: outer.size * inner.size };
    else dims[++last] = inner;
  }
  dims.length = last + 1;
}

function copyDims(src: Copyable, s: number, dst: Copyable, t: number, dims: readonly CopyDim[], d: number): void {
  const dim = dims[d];
  if (dim === undefined) {
    dst[t] = src[s] ?? NaN;
    return;
  }
  if (d === dims.length - 1) copyRun(src, s, dst, t, dim);
  else for (let i = 0; i < dim.size; i++) copyDims(src, s + i * dim.from, dst, t + i * dim.to, dims, d + 1);
}

function copyRun(src: Copyable, s: number, dst: Copyable, t: number, { size, from, to }: CopyDim): void {
  if (from === 1 && to === 1 && size >= MIN_BLOCK_COPY) dst.set(src.subarray(s, s + size), t);
  else for (let i = 0; i < size; i++) dst[t + i * to] = src[s + i * from] ?? NaN;
}

/** A tensor's dimensions as those of a copy between two arrays. */
export function copyDimsOf(shape: readonly number[], from: readonly number[], to: readonly number[]): CopyDim[] {
  return shape.map((size, d) => ({ size, from: from[d] ?? 0, to: to[d] ?? 0 }));
}
