import type { AttentionOptions, BlockPredicate } from "../reference/attention.ts";
import { countOf } from "../reference/indices.ts";
import type { Operand } from "../reference/rows.ts";
import { maskBytes, numbers, random } from "../support/numbers.ts";
import type { AttentionSizes } from "./attention.ts";

// Every option of attention, for whatever sizes, and many of them together.

/** A way to call attention. */
export interface OptionCase {
  readonly name: string;
  readonly optionsFor: (sizes: AttentionSizes) => AttentionOptions;
}

function option(name: string, optionsFor: (sizes: AttentionSizes) => AttentionOptions): OptionCase {
  return { name, optionsFor };
}

const filled = (count: number, value: (i: number) => number): number[] => Array.from({ length: count }, (_, i) => value(i));

/** Slopes that differ from head to head and are not powers of two. */
export const slopes = ({ heads }: AttentionSizes): number[] => filled(heads, (h) => Math.fround(0.3 / (h + 1)));

export const sinks = ({ heads }: AttentionSizes): number[] => filled(heads, (h) => 2 - h);

/** Lengths from `max` down to nothing, one per batch. */
export const lengths = ({ batch }: AttentionSizes, max: number): number[] =>
  filled(batch, (b) => (b === batch - 1 && b > 0 ? 0 : Math.ceil((max * (b + 2)) / (b + 3))));

const scoreShape = ({ batch, heads, queries, keys }: AttentionSizes): [number, number, number, number] => [batch, heads, queries, keys];

export function bias(shape: readonly number[], seed = 1): Operand {
  return { values: numbers("normal", countOf(shape), seed), shape };
}

/** A bias in which one number in five masks. */
export function biasWithHoles(shape: readonly number[], seed = 1): Operand {
  const next = random(seed);
  return { values: Float32Array.from(bias(shape, seed).values, (v) => (next() < 0.2 ? -Infinity : v)), shape };
}

export function mask(shape: readonly number[], seed = 1): Operand {
  return { values: maskBytes(countOf(shape), seed), shape };
}

/** A mask that leaves every third query nothing at all. */
export function maskWithEmptyRows(shape: readonly number[]): Operand {
  const keys = shape.at(-1) ?? 1;
  return { values: Uint8Array.from(mask(shape).values, (v, i) => (Math.floor(i / keys) % 3 === 0 ? 0 : v)), shape };
}

/** Causal over documents of 50 tokens, of which every fifth cannot be seen: tiles of all three kinds, and other ones per head. */
export function documents(batch: number, heads: number): BlockPredicate {
  return { maskMod: (b, h, q, k) => Math.floor(q / 50) === Math.floor((k + 7 * b) / 50) && k <= q + 20 * h && (k % 5 !== 4 || h === 1), batch, heads };
}

/** Whole tiles, in a pattern that differs from row to row, and the rest checkered. */
export function tiles(batch: number, heads: number): BlockPredicate {
  return { maskMod: (b, h, q, k) => [false, true, (q + k) % 2 === 0][((q >> 6) + 2 * (k >> 6) + h + b) % 3] ?? false, batch, heads };
}

/** One option at a time, in all its forms. */
export const SINGLE_OPTIONS: readonly OptionCase[] = [
  option("no option", () => ({})),
  option("scale 0", () => ({ scale: 0 })),
  option("scale -0.3", () => ({ scale: -0.3 })),
  option("scale 4, where exp would overflow", () => ({ scale: 4 })),
  option("causal: true", () => ({ causal: true })),
  option('causal: "lower-right"', () => ({ causal: "lower-right" })),
  option('causal: "upper-left"', () => ({ causal: "upper-left" })),
  option("causal, queryOffset -3", () => ({ causal: true, queryOffset: -3 })),
  option("causal, queryOffset behind the keys", ({ keys }) => ({ causal: true, queryOffset: keys + 5 })),
  option("causal, queryOffset per batch", ({ batch, keys }) => ({ causal: true, queryOffset: filled(batch, (b) => (b === 0 ? keys >> 1 : -2)) })),
  option("window of 1", () => ({ windowSize: [0, 0] })),
  option("window [16, 0]", () => ({ windowSize: [16, 0] })),
  option("window [3, 5]", () => ({ windowSize: [3, 5] })),
  option("window [Infinity, 2]", () => ({ windowSize: [Infinity, 2] })),
  option("window [65, Infinity]", () => ({ windowSize: [65, Infinity] })),
  option("window [Infinity, Infinity]", () => ({ windowSize: [Infinity, Infinity] })),
  option("window [70, 4], causal, upper-left", () => ({ windowSize: [70, 4], causal: "upper-left" })),
  option("window [9, 3], queryOffset in the middle", ({ keys }) => ({ windowSize: [9, 3], queryOffset: keys >> 1 })),
  option("softcap 1.5", () => ({ softcap: 1.5 })),
  option("softcap 50", () => ({ softcap: 50 })),
  option("softcap 0", () => ({ softcap: 0 })),
  option("alibiSlopes", (sizes) => ({ alibiSlopes: slopes(sizes) })),
  option("alibiSlopes, some 0, upper-left", ({ heads }) => ({ alibiSlopes: filled(heads, (h) => (h % 2) / 4), causal: "upper-left" })),
  option("sinks", (sizes) => ({ sinks: sinks(sizes) })),
  option("sinks, some -inf, some large", ({ heads }) => ({ sinks: filled(heads, (h) => [-Infinity, 80, -80][h % 3] ?? 0) })),
  option("kvLengths", (sizes) => ({ kvLengths: lengths(sizes, sizes.keys) })),
  option("kvLengths, causal", (sizes) => ({ kvLengths: lengths(sizes, sizes.keys), causal: true })),
  option("qLengths", (sizes) => ({ qLengths: lengths(sizes, sizes.queries) })),
  option("qLengths and kvLengths, causal", (sizes) => ({ qLengths: lengths(sizes, sizes.queries), kvLengths: lengths(sizes, sizes.keys), causal: true })),
  option("mask", (sizes) => ({ mask: mask(scoreShape(sizes)) })),
  option("mask with empty rows", (sizes) => ({ mask: maskWithEmptyRows(scoreShape(sizes)) })),
  option("mask that is all 0", () => ({ mask: { values: [0], shape: [1] } })),
  option("bias", (sizes) => ({ bias: bias(scoreShape(sizes)) })),
  option("bias with -inf", (sizes) => ({ bias: biasWithHoles(scoreShape(sizes)) })),
  option("bias that is all -inf", () => ({ bias: { values: [-Infinity], shape: [] } })),
  option("bias of -40000, which is no mask", ({ keys }) => ({ bias: { values: filled(keys, () => -40000), shape: [keys] } })),
  option("blockMask of documents", () => ({ blockMask: documents(1, 1) })),
  option("blockMask per batch and head", ({ batch, heads }) => ({ blockMask: documents(batch, heads) })),
  option("blockMask of whole tiles", ({ heads }) => ({ blockMask: tiles(1, heads) })),
];

/** What broadcasts to [B, Hq, L, S], by what it keeps. */
const BROADCASTS: readonly (readonly [string, (sizes: AttentionSizes) => readonly number[]])[] = [
  ["[S]", ({ keys }) => [keys]],
  ["[L, S]", ({ queries, keys }) => [queries, keys]],
  ["[L, 1]", ({ queries }) => [queries, 1]],
  ["[H, L, S]", ({ heads, queries, keys }) => [heads, queries, keys]],
  ["[H, 1, 1]", ({ heads }) => [heads, 1, 1]],
  ["[B, 1, 1, S]", ({ batch, keys }) => [batch, 1, 1, keys]],
  ["[1, H, 1, S]", ({ heads, keys }) => [1, heads, 1, keys]],
  ["[B, 1, L, S]", ({ batch, queries, keys }) => [batch, 1, queries, keys]],
  ["[B, H, L, 1]", ({ batch, heads, queries }) => [batch, heads, queries, 1]],
  ["[1, 1, 1, 1]", () => [1, 1, 1, 1]],
];

export const BROADCAST_OPTIONS: readonly OptionCase[] = BROADCASTS.flatMap(([name, shape]) => [
  option(`bias ${name}`, (sizes) => ({ bias: biasWithHoles(shape(sizes)) })),
  option(`mask ${name}`, (sizes) => ({ mask: mask(shape(sizes)) })),
]);

/** Options that meet in one score. */
export const COMBINED_OPTIONS: readonly OptionCase[] = [
  option("softcap, ALiBi and bias, in this order", (sizes) => ({ softcap: 2, alibiSlopes: slopes(sizes), bias: bias(scoreShape(sizes)) })),
  option("mask and bias of different broadcasts, causal", (sizes) => ({
    causal: true,
    mask: mask([sizes.batch, 1, 1, sizes.keys]),
    bias: biasWithHoles([sizes.heads, sizes.queries, sizes.keys]),
  })),
  option("empty rows with sinks", (sizes) => ({ mask: maskWithEmptyRows(scoreShape(sizes)), sinks: sinks(sizes) })),
  option("causal with queryOffset -3 and sinks", (sizes) => ({ causal: true, queryOffset: -3, sinks: sinks(sizes) })),
  option("blockMask, mask, bias, window and lengths", (sizes) => ({
    blockMask: documents(1, sizes.heads),
    mask: mask([sizes.queries, sizes.keys]),
    bias: bias([sizes.heads, 1, sizes.keys]),
    windowSize: [90, 30],
    kvLengths: lengths(sizes, sizes.keys),
  })),
  option("everything", (sizes) => ({
    scale: 0.4,
    causal: true,
    windowSize: [100, 10],
    softcap: 8,
    alibiSlopes: slopes(sizes),
    sinks: sinks(sizes),
    kvLengths: lengths(sizes, sizes.keys),
    qLengths: lengths(sizes, sizes.queries),
    mask: mask(scoreShape(sizes)),
    bias: biasWithHoles(scoreShape(sizes)),
  })),
  option("everything, with a blockMask", (sizes) => ({
    scale: 0.4,
    queryOffset: sizes.keys >> 1,
    windowSize: [Infinity, 40],
    softcap: 8,
    alibiSlopes: slopes(sizes),
    sinks: sinks(sizes),
    kvLengths: lengths(sizes, sizes.keys),
    qLengths: lengths(sizes, sizes.queries),
    mask: mask([sizes.queries, sizes.keys]),
    bias: biasWithHoles([sizes.batch, 1, sizes.queries, sizes.keys]),
    blockMask: tiles(sizes.batch, sizes.heads),
  })),
];
