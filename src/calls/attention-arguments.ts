import { UnsupportedError, describe } from "../errors/errors.ts";
import { checkOptions, parseChoice, parseFinite } from "../errors/options.ts";
import { broadcastStrides, elementsOf } from "../tensor/shape.ts";
import { type MaskLike, type TensorLike, type View, kindOf } from "../tensor/tensor.ts";
import { parseFloatBias, parseInput, parseMask } from "./arguments.ts";
import { type ScoreCall, type ScoreOperand, type Sequence, headOperand } from "./attention-call.ts";
import { BlockMask } from "./block-mask.ts";
import { type HeadSizes, type Layout, sizesOf } from "./head-layout.ts";

/** Integers in an array, a typed array or another iterable, or in a tensor without strides, such as ONNX Runtime's of int32 and int64. */
export type Integers = Iterable<number | bigint> | IntegerTensor;

/** Integers in a tensor without gaps. */
export interface IntegerTensor {
  /** The integers. */
  readonly data: Iterable<number | bigint>;
  /** There are none. */
  readonly strides?: undefined;
}

/** Options that affect the scores, the same for every function that computes attention. */
export interface ScoreOptions {
  /** Multiplies q·k. Default 1/√E. */
  readonly scale?: number;
  /**
   * Hides later keys from a query. `true` or `"lower-right"` aligns the last query with the last key (decoding with a cache),
   * `"upper-left"` aligns the first query with the first key (PyTorch's `is_causal`).
   */
  readonly causal?: boolean | "lower-right" | "upper-left";
  /** How many keys before and after its own position a query sees, inclusive; `Infinity` is unlimited. A window of W tokens is [W − 1, 0]. */
  readonly windowSize?: readonly [left: number, right: number];
  /** Position of the first query among the keys: one number for all, or one per batch. Overrides what `causal` implies. */
  readonly queryOffset?: number | Integers;
  /** Turns scores into c · tanh(score / c) before anything is added. 0 is off. */
  readonly softcap?: number;
  /** One slope per query head: adds −slope · |query position − key|. */
  readonly alibiSlopes?: Float32Array | readonly number[];
  /**
   * Added to the scores; f32, f16 or bf16, broadcast right-aligned to [B, Hq, L, S]. −inf masks a key, but the keys and values it hides are still
   * read, and a NaN among them may reach the row.
   */
  readonly bias?: TensorLike;
  /**
   * Bytes, nonzero = attend, broadcast right-aligned to [B, Hq, L, S]. A bare Uint8Array is [S]; pass other shapes as
   * `tensor(bytes, shape)`. For padded keys use [B, 1, 1, S], or better `kvLengths`: [B, S] is taken for [L, S], without an error if
   * B = L. The keys and values it hides are still read, and a NaN among those values may reach the row. Lengths, causality, window and
   * block mask do keep them from being read.
   */
  readonly mask?: MaskLike;
  /** Tiles of 64 × 64 that are skipped, masked or fully visible. */
  readonly blockMask?: BlockMask;
  /** One logit per query head that counts in the softmax sum but has no value. */
  readonly sinks?: Float32Array | readonly number[];
  /** Keys in use: one number for all, or one per batch. Keys beyond are never read. */
  readonly kvLengths?: number | Integers;
  /** Queries in use: one number for all, or one per batch. Rows beyond give 0 and a log-sum-exp of −inf. */
  readonly qLengths?: number | Integers;
  /** Order of the dimensions of queries, keys, values and output. Default "bhld". */
  readonly layout?: Layout;
}

/** The smallest normal f32: its reciprocal is finite. */
const SMALLEST_SOFTCAP = 2 ** -126;

/** The largest head dimension of queries, keys and values. */
export const MAX_DIM = 1024;

const SCORE_OPTIONS: readonly string[] = [
  "scale",
  "causal",
  "windowSize",
  "queryOffset",
  "softcap",
  "alibiSlopes",
  "bias",
  "mask",
  "blockMask",
  "sinks",
  "kvLengths",
  "qLengths",
  "layout",
];
// Marked as pure, and without spread, so that bundlers drop them from programs without attention.
const ATTENTION_OPTIONS = /* @__PURE__ */ attentionOptions();
const SCORES_OPTIONS = /* @__PURE__ */ new Set(/* @__PURE__ */ SCORE_OPTIONS.concat("stage"));

/** Checks `q`, `k`, `v` and every option that affects scores. `v` is `undefined` for `attentionScores`. */
export function parseScores(
  q: View,
  k: View,
  v: View | undefined,
  options: ScoreOptions,
): Omit<ScoreCall, "kind" | "op" | "results"> & { readonly sizes: HeadSizes; readonly keyLength: number; readonly layout: Layout } {
  const layout = parseChoice<Layout>("layout", options.layout, ["bhld", "blhd"]);
  const rank = q.shape.length;
  if (rank < 2 || rank > 4) throw new RangeError(`"q" expected 2 to 4 dimensions, got shape ${describe(q.shape)}`);
  const qs = sizesOf(q.shape, layout);
  const ks = sizesOf(sameRank("k", k, rank).shape, layout);
  const vs = v === undefined ? ks : sizesOf(sameRank("v", v, rank).shape, layout);
  if (ks.batch !== qs.batch) throw new RangeError(`"k" expected batch ${qs.batch} as in "q", got ${ks.batch}`);
  if (ks.dim !== qs.dim) throw new RangeError(`"k" expected last dimension ${qs.dim} as in "q", got ${ks.dim}`);
  if (vs.batch !== qs.batch) throw new RangeError(`"v" expected batch ${qs.batch} as in "q", got ${vs.batch}`);
  if (vs.heads !== ks.heads) throw new RangeError(`"v" expected ${ks.heads} heads as in "k", got ${vs.heads}`);
  if (vs.length !== ks.length) throw new RangeError(`"v" expected length ${ks.length} as in "k", got ${vs.length}`);
  checkHeads(qs.heads, ks.heads);
  checkDim("q", qs.dim);
  if (v !== undefined) checkDim("v", vs.dim);

  const kvLengths = parseLengths("kvLengths", options.kvLengths, qs.batch, ks.length);
  const qLengths = parseLengths("qLengths", options.qLengths, qs.batch, qs.length);
  const offsets = parsePerBatch("queryOffset", options.queryOffset, qs.batch);
  const causal = parseCausal(options.causal);
  const sequences = Array.from({ length: qs.batch }, (_, batch): Sequence => {
    const keyLength = kvLengths?.[batch] ?? ks.length;
    const queryLength = qLengths?.[batch] ?? qs.length;
    const offset = offsets?.[batch] ?? (causal === "upper-left" ? 0 : keyLength - queryLength);
    return { batch, queryStart: 0, keyStart: 0, rows: qs.length, queryLength, keyLength, offset };
  });
  const target = [qs.batch, qs.heads, qs.length, ks.length];
  return {
    ...parseModifiers(options, qs.heads, qs.dim, causal !== "none"),
    heads: qs.heads,
    kvHeads: ks.heads,
    dim: qs.dim,
    valueDim: v === undefined ? 0 : vs.dim,
    operands: {
      q: headOperand(q, layout),
      k: headOperand(k, layout),
      v: v && headOperand(v, layout),
      bias: options.bias === undefined ? undefined : parseScoreBias(options.bias, target),
      mask: options.mask === undefined ? undefined : parseScoreMask(options.mask, target),
    },
    sequences,
    blockMask: options.blockMask === undefined ? undefined : checkBlockMask(options.blockMask, target),
    sizes: qs,
    keyLength: ks.length,
    layout,
  };
}

/** Parses the options that padded and ragged batches share. */
export function parseModifiers(
  options: ScoreOptions,
  heads: number,
  dim: number,
  causal: boolean,
): Pick<ScoreCall, "rule" | "scale" | "softcap" | "slopes" | "sinks"> {
  const softcap = parseFinite("softcap", options.softcap, 0);
  if (softcap < 0) throw new RangeError(`"softcap" expected a number that is not negative, got ${softcap}`);
  // Scores are divided by it, in f32.
  if (softcap > 0 && softcap < SMALLEST_SOFTCAP) throw new RangeError(`"softcap" expected 0 or at least ${SMALLEST_SOFTCAP}, got ${softcap}`);
  const [windowLeft, windowRight] = parseWindow(options.windowSize);
  return {
    rule: { causal, windowLeft, windowRight },
    scale: parseFinite("scale", options.scale, 1 / Math.sqrt(Math.max(dim, 1))),
    softcap,
    slopes: parsePerHead("alibiSlopes", options.alibiSlopes, heads, false),
    sinks: parsePerHead("sinks", options.sinks, heads, true),
  };
}

/** Checks an input of attention. */
export function parseHeads(name: string, value: unknown): View {
  const view = parseInput(name, value);
  if (view.data.dtype === "f64") throw new TypeError(`"${name}" expected dtype f32, got f64; attention computes f32`);
  return view;
}

export function checkAttentionOptions(options: unknown): void {
  checkOptions(options, ATTENTION_OPTIONS);
}

export function checkScoresOptions(options: unknown): void {
  checkOptions(options, SCORES_OPTIONS);
}

/** The names of attention's options, without some. */
export function attentionOptions(...without: readonly string[]): Set<string> {
  return new Set(SCORE_OPTIONS.concat("out", "returnLse").filter((name) => !without.includes(name)));
}

export function checkHeads(heads: number, kvHeads: number): void {
  if (kvHeads === 0 ? heads !== 0 : heads % kvHeads !== 0)
    throw new RangeError(`"k" expected a number of heads that divides the ${heads} of "q", got ${kvHeads}`);
}

export function parseCausal(value: unknown): "none" | "lower-right" | "upper-left" {
  if (value === undefined || value === false) return "none";
  if (value === true) return "lower-right";
  if (value === "lower-right" || value === "upper-left") return value;
  const message = `"causal" expected true, false, "lower-right" or "upper-left", got ${describe(value)}`;
  throw typeof value === "string" ? new RangeError(message) : new TypeError(message);
}

function sameRank(name: string, view: View, rank: number): View {
  if (view.shape.length !== rank) throw new RangeError(`"${name}" expected ${rank} dimensions as "q", got shape ${describe(view.shape)}`);
  return view;
}

/** One length per batch, from 0 to `max`. */
export function parseLengths(name: string, value: unknown, batch: number, max: number): readonly number[] | undefined {
  const lengths = parsePerBatch(name, value, batch);
  for (const n of lengths ?? []) if (n < 0 || n > max) throw new RangeError(`"${name}" expected lengths from 0 to ${max}, got ${n}`);
  return lengths;
}

/** One integer per batch (or sequence), given as a list or as one number for all; `undefined` if absent. */
export function parsePerBatch(name: string, value: unknown, batch: number, unit = "batch"): readonly number[] | undefined {
  if (value === undefined) return undefined;
  const given = parseIntegers(name, typeof value === "number" ? [value] : value, "an integer, ");
  if (typeof value === "number") return new Array<number>(batch).fill(value);
  if (given.length !== batch) throw new RangeError(`"${name}" expected one number for all or one per ${unit} (${batch}), got ${given.length}`);
  return given;
}

/** Integers from a list or a tensor; `otherwise` is what else the caller accepts. */
export function parseIntegers(name: string, value: unknown, otherwise = ""): readonly number[] {
  const { data, strides } = (value ?? {}) as { readonly data?: unknown; readonly strides?: unknown };
  const given = elementsOf(value) ?? (strides === undefined ? elementsOf(data) : undefined);
  if (given === undefined) throw new TypeError(`"${name}" expected ${otherwise}an Int32Array or an array of integers, got ${describe(value)}`);
  return parseNumbers(name, given, "integers", Number.isSafeInteger);
}

/** Checks the elements of an array: each must be a number that `accepts` allows. */
function parseNumbers(name: string, numbers: readonly unknown[], expected: string, accepts: (n: number) => boolean): readonly number[] {
  for (const n of numbers) if (typeof n !== "number" || !accepts(n)) throw new RangeError(`"${name}" expected ${expected}, got ${describe(n)}`);
  return numbers as number[];
}

function parseWindow(value: unknown): readonly [number, number] {
  if (value === undefined) return [Infinity, Infinity];
  if (!Array.isArray(value) || value.length !== 2) throw new TypeError(`"windowSize" expected [left, right], got ${describe(value)}`);
  for (const n of value as unknown[]) {
    if (typeof n !== "number" || n < 0 || (n !== Infinity && !Number.isSafeInteger(n)))
      throw new RangeError(`"windowSize" expected non-negative integers or Infinity, got ${describe(value)}`);
  }
  return value as [number, number];
}

function parsePerHead(name: string, value: unknown, heads: number, allowMinusInfinity: boolean): Float32Array | undefined {
  if (value === undefined) return undefined;
  const given = Array.isArray(value) ? [...(value as unknown[])] : kindOf(value) === "Float32Array" ? elementsOf(value) : undefined;
  if (given === undefined) throw new TypeError(`"${name}" expected a Float32Array or an array of numbers, got ${describe(value)}`);
  const numbers = parseNumbers(
    name,
    given,
    `finite numbers${allowMinusInfinity ? " or −Infinity" : ""}`,
    (n) => Number.isFinite(Math.fround(n)) || (allowMinusInfinity && n === -Infinity),
  );
  if (numbers.length !== heads) throw new RangeError(`"${name}" expected one number per query head (${heads}), got ${numbers.length}`);
  return Float32Array.from(numbers);
}

function parseScoreBias(value: unknown, target: readonly number[]): ScoreOperand {
  const bias = parseFloatBias(value, "f32");
  return scoreOperand({ data: bias.data, strides: broadcastStrides("bias", bias.shape, bias.strides, target) });
}

function parseScoreMask(value: unknown, target: readonly number[]): ScoreOperand {
  return scoreOperand(parseMask(value, target));
}

function scoreOperand({ data, strides }: Pick<View, "data" | "strides">): ScoreOperand {
  const [batch = 0, head = 0, row = 0, key = 0] = strides;
  return { data, batch, head, row, key };
}

function checkBlockMask(value: unknown, target: readonly number[]): BlockMask {
  if (!(value instanceof BlockMask)) throw new TypeError(`"blockMask" expected what createBlockMask returns, got ${describe(value)}`);
  const [batch = 0, heads = 0, queries = 0, keys = 0] = target;
  const fits =
    (value.batch === 1 || value.batch === batch) && (value.heads === 1 || value.heads === heads) && value.queryLength === queries && value.keyLength === keys;
  if (!fits)
    throw new RangeError(
      `"blockMask" expected ${describe(target)} (or 1 for batch or heads), got [${value.batch}, ${value.heads}, ${value.queryLength}, ${value.keyLength}]`,
    );
  return value;
}

/** Checks a head dimension, which the kernels' scratch limits. */
export function checkDim(name: string, dim: number): void {
  if (dim < 1) throw new RangeError(`"${name}" expected a last dimension of at least 1, got ${dim}`);
  if (dim > MAX_DIM) throw new UnsupportedError(`"${name}" expected a last dimension of at most ${MAX_DIM}, got ${dim}`);
}
