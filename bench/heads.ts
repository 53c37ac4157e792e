import { alibiSlopes } from "../src/ops/alibi-slopes.ts";
import { repeated, standardNormal, uniform } from "./inputs.ts";

/** What changes a score beyond q·k: the options of the library's `attention`, without the numbers that are drawn at random. */
export interface Modifiers {
  readonly causal?: true;
  readonly windowSize?: readonly [left: number, right: number];
  readonly softcap?: number;
  readonly mask?: true;
  readonly bias?: true;
  readonly alibi?: true;
}

/** Sizes of one attention call of batch 1. */
export interface HeadShape {
  readonly heads: number;
  /** Fewer than `heads` where several query heads share one head of keys and values. */
  readonly kvHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
}

/** Queries, keys and values: [heads, length, dim], row-major. */
export interface Heads extends HeadShape {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  /** Rough size of the scores: near 0, or near 100 on hot input. */
  readonly heat: number;
}

/** Heads and all that modifies their scores. */
export interface AttentionInput extends Heads {
  readonly modifiers: Modifiers;
  /** Bytes [queries, keys], the same for all heads. */
  readonly mask: Uint8Array | undefined;
  /** [queries, keys], the same for all heads. */
  readonly bias: Float32Array | undefined;
  readonly slopes: Float32Array | undefined;
}

/** exp(100) is far above the largest f32. */
const HEAT = 100;
/** Hot inputs are verified, not timed: this is enough for several tiles of queries and keys. */
const HOT_LENGTH = 320;
/** Part of the pairs that the random mask removes. */
const MASKED = 0.1;

/** Standard-normal heads; the same ones each time. */
export function normalHeads(shape: HeadShape, modifiers: Modifiers = {}): AttentionInput {
  const { heads, kvHeads, queries, keys, dim } = shape;
  const draw = standardNormal(heads * 7919 + keys * 31 + dim);
  const [q, k, v] = [repeated(heads * queries * dim, draw), repeated(kvHeads * keys * dim, draw), repeated(kvHeads * keys * dim, draw)];
  return withModifiers({ ...shape, q, k, v, heat: 0 }, modifiers);
}

/** The same heads with what modifies their scores. */
export function withModifiers(input: Heads, modifiers: Modifiers): AttentionInput {
  const { heads, queries, keys } = input;
  const random = uniform(queries + keys);
  return {
    ...input,
    modifiers,
    mask: modifiers.mask && Uint8Array.from({ length: queries * keys }, () => (random() < MASKED ? 0 : 1)),
    bias: modifiers.bias && repeated(queries * keys, standardNormal(queries - keys)),
    slopes: modifiers.alibi && alibiSlopes(heads),
  };
}

/** Shorter heads whose scores are all near 100, where exp overflows unless the max is subtracted. */
export function hotHeads({ modifiers, ...shape }: AttentionInput): AttentionInput {
  const { dim } = shape;
  const queries = Math.min(shape.queries, HOT_LENGTH);
  const hot = normalHeads({ ...shape, queries, keys: Math.min(shape.keys, Math.max(queries, HOT_LENGTH)) }, modifiers);
  // One component of each query and key carries the heat: their product, times 1/√dim, is HEAT.
  const shift = Math.sqrt(HEAT * Math.sqrt(dim));
  for (let i = 0; i < hot.q.length; i += dim) hot.q[i] = shift;
  for (let i = 0; i < hot.k.length; i += dim) hot.k[i] = shift;
  return { ...hot, heat: HEAT };
}

/** Query–key pairs that are visible by causality and window, in all heads. Masks do not count: what they hide is computed. */
export function visiblePairs({ heads, queries, keys }: HeadShape, { causal, windowSize: [left, right] = [Infinity, Infinity] }: Modifiers): number {
  let pairs = 0;
  for (let i = 0; i < queries; i++) {
    const position = i + keys - queries;
    const first = Math.max(0, position - left);
    const last = Math.min(keys - 1, position + (causal ? 0 : right));
    pairs += Math.max(0, last - first + 1);
  }
  return heads * pairs;
}
