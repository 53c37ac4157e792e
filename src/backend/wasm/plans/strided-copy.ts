/** Numbers that are copied. */
type Numbers = Float32Array | Uint8Array;

/** One dimension of a copy: how many, and how far apart there and here, in elements. */
export interface CopyDim {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Below this many elements a loop beats `TypedArray.set`. */
const MIN_BLOCK_COPY = 32;

/** Gives the dimensions of `from` gapless strides in the order in which they lie there; what repeats there (stride 0) repeats here. */
export function compactDims(
  dims: readonly { readonly size: number; readonly from: number }[],
  innermost: number,
): { readonly dims: CopyDim[]; readonly count: number } {
  // The innermost one has to have neighbours next to each other, whatever its stride was.
  const order = dims.map((_, d) => d).filter((d) => d !== innermost);
  order.sort((a, b) => (dims[a]?.from ?? 0) - (dims[b]?.from ?? 0));
  const result = dims.map((dim): CopyDim => ({ ...dim, to: 0 }));
  let count = 1;
  for (const d of [innermost, ...order]) {
    const dim = result[d];
    if (dim === undefined || (dim.from === 0 && d !== innermost)) continue;
    result[d] = { ...dim, to: count };
    count *= dim.size;
  }
  return { dims: result, count };
}

/** Copies elements from wherever they lie to wherever they belong, in runs as long as the strides allow. A dimension whose `to` is 0 is copied once. */
export function copyStrided(src: Numbers, srcAt: number, dst: Numbers, dstAt: number, given: readonly CopyDim[]): void {
  const dims: CopyDim[] = [];
  for (const dim of given.filter(({ size, to }) => size > 1 && to !== 0).sort((a, b) => b.to - a.to)) {
    const outer = dims.at(-1);
    if (outer?.from === dim.size * dim.from && outer.to === dim.size * dim.to) dims[dims.length - 1] = { ...dim, size: outer.size * dim.size };
    else dims.push(dim);
  }
  if (given.some(({ size }) => size === 0)) return;
  const step = (d: number, s: number, t: number): void => {
    const dim = dims[d];
    if (dim === undefined) {
      dst[t] = src[s] ?? 0;
      return;
    }
    const { size, from, to } = dim;
    if (d < dims.length - 1) for (let i = 0; i < size; i++) step(d + 1, s + i * from, t + i * to);
    else if (from === 1 && to === 1 && size >= MIN_BLOCK_COPY) dst.set(src.subarray(s, s + size), t);
    else for (let i = 0; i < size; i++) dst[t + i * to] = src[s + i * from] ?? 0;
  };
  step(0, srcAt, dstAt);
}
