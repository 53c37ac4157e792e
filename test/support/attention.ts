import { createBlockMask } from "../../src/ops/create-block-mask.ts";
import type { MaskLike } from "../../src/tensor/tensor.ts";
import { expect } from "vitest";
import type { Layout, ScoreOptions, Tensor, TensorLike } from "../../src/index.ts";
import type { AttentionSizes } from "../cases/attention.ts";
import * as reference from "../reference/attention.ts";
import { countOf, offsetsOf, stridesOf } from "../reference/indices.ts";
import { type Store, store } from "./layouts.ts";
import { type Kind, numbers } from "./numbers.ts";
import { type Home, type Subject, disposeOf } from "./subjects.ts";
import { type Backend, type Tolerance, expectClose } from "./tolerances.ts";

/** The inputs of a call, row-major: q [B, Hq, L, E], k [B, Hkv, S, E], v [B, Hkv, S, Ev]. */
export interface Operands {
  readonly sizes: AttentionSizes;
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** What a call returns, row-major: out [B, Hq, L, Ev], lse [B, Hq, L]. */
export interface Result {
  readonly out: Float32Array;
  readonly lse: Float32Array;
}

/** Where all operands of a call are, and in which layout. */
export interface Way {
  readonly home: Home;
  readonly layout: Layout;
}

/** Every way to call a subject, the plain one first. The first two have the same layout. */
export function waysOf({ homes }: Subject): readonly Way[] {
  return (["bhld", "blhd"] as const).flatMap((layout) => homes.map((home) => ({ home, layout })));
}

export const PLAIN: Way = { home: "array", layout: "bhld" };

type Shape = readonly [number, number, number, number];

/** Shapes in "bhld". */
export function shapesOf({ batch, heads, kvHeads, queries, keys, dim, valueDim }: AttentionSizes): Readonly<Record<"q" | "k" | "v" | "out", Shape>> {
  return { q: [batch, heads, queries, dim], k: [batch, kvHeads, keys, dim], v: [batch, kvHeads, keys, valueDim], out: [batch, heads, queries, valueDim] };
}

export function operandsFor(sizes: AttentionSizes, seed = 1, kind: Kind = "normal"): Operands {
  const shapes = shapesOf(sizes);
  const make = (name: "q" | "k" | "v", n: number): Float32Array => numbers(kind, countOf(shapes[name]), 3 * seed + n);
  return { sizes, q: make("q", 0), k: make("k", 1), v: make("v", 2) };
}

/** Numbers from the standard normal distribution. */
export function standardNormal(sizes: AttentionSizes, seed = 1): Operands {
  const { q, k, v } = operandsFor(sizes, seed);
  const half = (values: Float32Array): Float32Array => values.map((x) => x / 2);
  return { sizes, q: half(q), k: half(k), v: half(v) };
}

/** The reference's result, in float64 or as the plain f32 implementation would compute it. */
export function expectedOf({ sizes, q, k, v }: Operands, options: reference.AttentionOptions, round: reference.Rounding = reference.exact): reference.Attended {
  const shapes = shapesOf(sizes);
  return reference.attention({ values: q, shape: shapes.q }, { values: k, shape: shapes.k }, { values: v, shape: shapes.v }, options, round);
}

export function expectedScores({ sizes, q, k }: Operands, options: reference.AttentionOptions, stage: reference.Stage): Float64Array {
  const shapes = shapesOf(sizes);
  return reference.attentionScores({ values: q, shape: shapes.q }, { values: k, shape: shapes.k }, options, stage);
}

/** A copy with the two middle dimensions swapped: "bhld" to "blhd", and back with the swapped shape. */
export function swapMiddle(values: ArrayLike<number>, [batch, second, third, last]: Shape): Float32Array {
  const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = stridesOf([batch, second, third, last]);
  const result = new Float32Array(values.length);
  offsetsOf([batch, third, second, last], [s0, s2, s1, s3]).forEach((at, i) => (result[i] = values[at] ?? NaN));
  return result;
}

function swapped([batch, second, third, last]: Shape): Shape {
  return [batch, third, second, last];
}

/** Contiguous tensors for the duration of a call, all in one place. */
export class Placements {
  readonly #stores: Store[] = [];
  readonly #subject: Subject;
  readonly #home: Home;

  constructor(subject: Subject, home: Home) {
    this.#subject = subject;
    this.#home = home;
  }

  async floats(values: ArrayLike<number>, shape: readonly number[]): Promise<Tensor<"f32">> {
    return (await this.#keep(Float32Array.from(values), shape)) as Tensor<"f32">;
  }

  /** For a result. Unwritten elements read as NaN. */
  empty(shape: readonly number[]): Promise<Tensor<"f32">> {
    return this.floats(new Float32Array(countOf(shape)).fill(NaN), shape);
  }

  async bytes(values: ArrayLike<number>, shape: readonly number[]): Promise<MaskLike> {
    return (await this.#keep(Uint8Array.from(values), shape)) as MaskLike;
  }

  async #keep(data: Float32Array | Uint8Array, shape: readonly number[]): Promise<TensorLike> {
    const kept = await store(this.#subject, this.#home, data);
    this.#stores.push(kept);
    return kept.view(0, shape);
  }

  dispose(): void {
    for (const kept of this.#stores) kept.dispose();
  }
}

/** The reference's options in the library's form. */
export async function libraryOptions(options: reference.AttentionOptions, { queries, keys }: AttentionSizes, placements: Placements): Promise<ScoreOptions> {
  const { bias, mask, blockMask, ...rest } = options;
  return {
    ...rest,
    ...(bias === undefined ? {} : { bias: await placements.floats(bias.values, bias.shape) }),
    ...(mask === undefined ? {} : { mask: await placements.bytes(mask.values, mask.shape) }),
    ...(blockMask === undefined
      ? {}
      : { blockMask: createBlockMask(blockMask.maskMod, { batch: blockMask.batch, heads: blockMask.heads, queryLength: queries, keyLength: keys }) }),
  };
}

/** Calls attention with everything in one place, and checks that the call leaves nothing behind. */
export async function run(
  subject: Subject,
  { sizes, q, k, v }: Operands,
  options: reference.AttentionOptions = {},
  { home, layout }: Way = PLAIN,
): Promise<Result> {
  const used = await subject.usedBytes?.();
  const placements = new Placements(subject, home);
  const shapes = shapesOf(sizes);
  const place = (values: Float32Array, shape: Shape) =>
    layout === "bhld" ? placements.floats(values, shape) : placements.floats(swapMiddle(values, shape), swapped(shape));
  const [qt, kt, vt] = [await place(q, shapes.q), await place(k, shapes.k), await place(v, shapes.v)];
  const out = home === "array" ? undefined : await placements.empty(layout === "bhld" ? shapes.out : swapped(shapes.out));
  const call = { ...(await libraryOptions(options, sizes, placements)), layout, returnLse: true as const, ...(out && { out }) };
  const result = await subject.attention(qt, kt, vt, call);
  if (out !== undefined) expect(result.out).toBe(out);
  expect(result.out.shape).toEqual(layout === "bhld" ? shapes.out : swapped(shapes.out));
  expect(result.lse.shape).toEqual([sizes.batch, sizes.heads, sizes.queries]);
  const [values, lse] = [(await subject.read(result.out)) as Float32Array, (await subject.read(result.lse)) as Float32Array];
  if (out === undefined) disposeOf(result.out);
  disposeOf(result.lse);
  placements.dispose();
  expect(await subject.usedBytes?.(), "bytes in use after the call").toBe(used);
  return { out: layout === "bhld" ? values : swapMiddle(values, swapped(shapes.out)), lse };
}

/** Half an ULP of f32, relative. */
const EPS = 2 ** -24;

/** How far a result may differ from the reference. */
export interface AttentionTolerance {
  readonly out: Tolerance;
  readonly lse: Tolerance;
  readonly scores: Tolerance;
  readonly probabilities: Tolerance;
}

/**
 * Sources of error, in units of EPS:
 * - A score is a sum of E products, and no partial sum exceeds |q|·|k| (times the scale). Random rounding gives √E of that.
 * - Scale, softcap, ALiBi and bias round a few more times, each time a number no larger than the sum so far.
 *   Softcap itself is off by 7.5 ULP (kernels/tanh.test.ts) of a number no larger than the cap.
 * - The exponential turns an error of the score into a relative error of the weight. Another key may err the other way.
 * - Exp, the sums of a tile, their rescaling and the final factor: 1e-6 together, as for softmax of rows.
 * - The weighted sum of S values rounds at every key, at random.
 *
 * On the GPU the exponential may be off by 3 + 2d ULP (tolerances.ts), where d is the distance to the largest score of the row. Weighted
 * like the output, a row's d has a mean of at most log S. Weight and sum may err in opposite directions.
 */
export function toleranceFor({ sizes, q, k, v }: Operands, options: reference.AttentionOptions, backend: Backend): AttentionTolerance {
  const { keys, queries, dim } = sizes;
  const { scale = 1 / Math.sqrt(dim), softcap = 0, alibiSlopes = [], bias, queryOffset = 0 } = options;
  const dot = Math.abs(scale) * largestNorm(q, dim) * largestNorm(k, dim);
  const farthest = keys + queries + Math.max(0, ...[queryOffset].flat().map(Math.abs));
  const added = Math.max(0, ...alibiSlopes.map(Math.abs)) * farthest + (bias === undefined ? 0 : largestMagnitude(Float64Array.from(bias.values)));
  const score = EPS * (Math.sqrt(dim) * dot + 3 * (dot + added) + 15 * Math.min(softcap, dot));
  const exponential = backend === "wasm" ? 0 : 2 * EPS * (3 + 2 * Math.log(Math.max(keys, 2)));
  const weight = 2 * (score + exponential) + 1e-6;
  // The logarithm of a sum of at most S terms: 3 ULP of it, or 2⁻²¹.
  const logarithm = backend === "wasm" ? 0 : exponential + 2 ** -21 + 6 * EPS * Math.log(Math.max(keys, 2));
  return {
    out: { relative: 0, absolute: largestMagnitude(v) * (weight + EPS * Math.sqrt(keys)) },
    lse: { relative: EPS, absolute: score + 1e-6 + logarithm },
    scores: { relative: EPS, absolute: score + 1e-38 },
    probabilities: { relative: weight, absolute: backend === "wasm" ? 1e-12 : 1e-10 },
  };
}

function largestNorm(values: Float32Array, dim: number): number {
  let largest = 0;
  for (let at = 0; at < values.length; at += dim) largest = Math.max(largest, Math.hypot(...values.subarray(at, at + dim)));
  return largest;
}

/** The largest finite magnitude; 0 if there is none. */
export function largestMagnitude(values: Iterable<number>): number {
  let largest = 0;
  for (const value of values) {
    const magnitude = Math.abs(value);
    if (magnitude > largest && magnitude !== Infinity) largest = magnitude;
  }
  return largest;
}

/** Asserts that a result agrees with the reference. Rows that see nothing must be exactly 0. */
export function expectAttention(actual: Result, expected: reference.Attended, tolerance: AttentionTolerance, label: string): void {
  expectClose(actual.lse, expected.lse, tolerance.lse, `${label}, log-sum-exp`);
  expectClose(actual.out, expected.out, tolerance.out, `${label}, output`);
  const dim = expected.lse.length === 0 ? 0 : expected.out.length / expected.lse.length;
  expected.lse.forEach((lse, row) => {
    if (lse === -Infinity) expect(largestMagnitude(actual.out.subarray(row * dim, (row + 1) * dim)), `${label}: row ${row}, which sees nothing`).toBe(0);
  });
}
