/** Position of the head dimension: `"bhld"` is [B, H, L, E] (PyTorch, ONNX), `"blhd"` is [B, L, H, E] (flash-attn, JAX). */
export type Layout = "bhld" | "blhd";

/** Sizes of a padded batch, whatever its rank and layout. */
export interface HeadSizes {
  readonly rank: number;
  readonly batch: number;
  readonly heads: number;
  readonly length: number;
  readonly dim: number;
}

/**
 * Sizes or strides of a tensor with heads, which has two to four dimensions, in the order batch, head, row, head dimension. `missing`
 * stands for dimensions that it lacks.
 */
export function inBhld(values: readonly number[], layout: Layout, missing: number): readonly [number, number, number, number] {
  const [batch = 0, second = 0, third = 0, dim = 0] = [...new Array<number>(4 - values.length).fill(missing), ...values];
  // Two dimensions are [L, E] in either layout.
  return layout === "bhld" || values.length === 2 ? [batch, second, third, dim] : [batch, third, second, dim];
}

/** Sizes from the shape of queries, keys or values. */
export function sizesOf(shape: readonly number[], layout: Layout): HeadSizes {
  const [batch, heads, length, dim] = inBhld(shape, layout, 1);
  return { rank: shape.length, batch, heads, length, dim };
}

/**
 * The shape of data with heads before length in both layouts: a log-sum-exp or, with the keys as `last` dimension, scores. Leaves out
 * the dimensions that the queries lack.
 */
export function headsFirst({ rank, batch, heads, length }: HeadSizes, ...last: readonly number[]): number[] {
  return [batch, heads, length, ...last].slice(4 - rank);
}
