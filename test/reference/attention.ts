// The arbiter of attention: naive and independent of src/. The same loops run in float64, as the reference, and with every
// result rounded to f32, as the plain three-step implementation that kernels must not be much worse than.
import { broadcastIndices } from "./indices.ts";
import type { Operand } from "./rows.ts";

/** Which keys a query sees, by indices; with `batch` or `heads` 1 the predicate is asked about the first one for all. */
export interface BlockPredicate {
  readonly maskMod: (b: number, h: number, q: number, k: number) => boolean;
  readonly batch: number;
  readonly heads: number;
}

/** The options of SEMANTICS, "Attention". Bias and mask broadcast to [B, Hq, L, S]. */
export interface AttentionOptions {
  readonly scale?: number | undefined;
  readonly causal?: boolean | "lower-right" | "upper-left" | undefined;
  readonly queryOffset?: number | readonly number[] | undefined;
  readonly windowSize?: readonly [number, number] | undefined;
  readonly softcap?: number | undefined;
  readonly alibiSlopes?: readonly number[] | undefined;
  readonly bias?: Operand | undefined;
  readonly mask?: Operand | undefined;
  readonly blockMask?: BlockPredicate | undefined;
  readonly sinks?: readonly number[] | undefined;
  readonly kvLengths?: readonly number[] | undefined;
  readonly qLengths?: readonly number[] | undefined;
}

export type Stage = "raw" | "softcapped" | "masked" | "probabilities";

/** What each operation's result goes through: nothing, or rounding to f32. */
export type Rounding = typeof exact | typeof toF32;
export const exact = (x: number): number => x;
export const toF32 = Math.fround;

export interface Attended {
  /** [B, Hq, L, Ev] */
  readonly out: Float64Array;
  /** [B, Hq, L] */
  readonly lse: Float64Array;
}

/** softmax(modify(scale · q·kᵀ)) · v for q [B, Hq, L, E], k [B, Hkv, S, E] and v [B, Hkv, S, Ev]. */
export function attention(q: Operand, k: Operand, v: Operand, options: AttentionOptions = {}, round: Rounding = exact): Attended {
  const scores = new Scores(q, k, options, round);
  const [, , keys = 0, valueDim = 0] = v.shape;
  const out = new Float64Array(scores.rowCount * valueDim);
  const lse = new Float64Array(scores.rowCount);
  scores.forEachRow((row, b, h, i) => {
    const masked = scores.of(b, h, i, "masked");
    const weights = scores.probabilitiesOf(masked, b, h, i);
    lse[row] = weights.lse;
    const values = (b * scores.kvHeads + scores.kvHeadOf(h)) * keys;
    for (let j = 0; j < keys; j++) {
      // A masked key contributes nothing, whatever its value holds.
      if (masked[j] === -Infinity) continue;
      addScaled(out, row * valueDim, weights.values[j] ?? NaN, v.values, (values + j) * valueDim, valueDim, round);
    }
  });
  return { out, lse };
}

/** The scores [B, Hq, L, S] as they are after `stage`. */
export function attentionScores(q: Operand, k: Operand, options: AttentionOptions, stage: Stage): Float64Array {
  const scores = new Scores(q, k, options, exact);
  const result = new Float64Array(scores.rowCount * scores.keys);
  scores.forEachRow((row, b, h, i) => {
    const values = scores.of(b, h, i, stage === "probabilities" ? "masked" : stage);
    result.set(stage === "probabilities" ? scores.probabilitiesOf(values, b, h, i).values : values, row * scores.keys);
  });
  return result;
}

// The two inner loops, twice each: with a call of `round` per operation they would take most of the time of all tests.

/** Σ a · b over `count` neighbours. */
function dot(a: ArrayLike<number>, aAt: number, b: ArrayLike<number>, bAt: number, count: number, round: Rounding): number {
  let sum = 0;
  if (round === exact) for (let i = 0; i < count; i++) sum += (a[aAt + i] ?? NaN) * (b[bAt + i] ?? NaN);
  else for (let i = 0; i < count; i++) sum = Math.fround(sum + Math.fround((a[aAt + i] ?? NaN) * (b[bAt + i] ?? NaN)));
  return sum;
}

/** out += p · v over `count` neighbours. */
function addScaled(out: Float64Array, at: number, p: number, v: ArrayLike<number>, from: number, count: number, round: Rounding): void {
  if (round === exact) for (let i = 0; i < count; i++) out[at + i] = (out[at + i] ?? NaN) + p * (v[from + i] ?? NaN);
  else for (let i = 0; i < count; i++) out[at + i] = Math.fround((out[at + i] ?? NaN) + Math.fround(p * (v[from + i] ?? NaN)));
}

class Scores {
  readonly kvHeads: number;
  readonly keys: number;
  readonly rowCount: number;
  readonly #q: Operand;
  readonly #k: Operand;
  readonly #options: AttentionOptions;
  readonly #round: Rounding;
  readonly #batch: number;
  readonly #heads: number;
  readonly #queries: number;
  readonly #dim: number;
  readonly #biasAt: Int32Array | undefined;
  readonly #maskAt: Int32Array | undefined;

  constructor(q: Operand, k: Operand, options: AttentionOptions, round: Rounding) {
    this.#q = q;
    this.#k = k;
    this.#options = options;
    this.#round = round;
    [this.#batch = 0, this.#heads = 0, this.#queries = 0, this.#dim = 0] = q.shape;
    [, this.kvHeads = 0, this.keys = 0] = k.shape;
    this.rowCount = this.#batch * this.#heads * this.#queries;
    const target = [this.#batch, this.#heads, this.#queries, this.keys];
    this.#biasAt = options.bias && broadcastIndices(options.bias.shape, target);
    this.#maskAt = options.mask && broadcastIndices(options.mask.shape, target);
  }

  forEachRow(visit: (row: number, b: number, h: number, i: number) => void): void {
    for (let row = 0; row < this.rowCount; row++) {
      const bh = Math.floor(row / this.#queries);
      visit(row, Math.floor(bh / this.#heads), bh % this.#heads, row % this.#queries);
    }
  }

  kvHeadOf(h: number): number {
    return Math.floor(h / (this.#heads / this.kvHeads));
  }

  /** The scores of one query, in the order of SEMANTICS: scale, softcap, ALiBi, bias, masks. */
  of(b: number, h: number, i: number, stage: Exclude<Stage, "probabilities">): Float64Array {
    const round = this.#round;
    const options = this.#options;
    const { scale = 1 / Math.sqrt(this.#dim), softcap = 0, alibiSlopes, bias, mask } = options;
    const position = this.#positionOf(b, i);
    const row = (b * this.#heads + h) * this.#queries + i;
    const firstKey = (b * this.kvHeads + this.kvHeadOf(h)) * this.keys;
    const [first, last] = this.#rangeOf(b, i, position);
    const scores = new Float64Array(this.keys);
    for (let j = 0; j < this.keys; j++) {
      let s = round(round(scale) * dot(this.#q.values, row * this.#dim, this.#k.values, (firstKey + j) * this.#dim, this.#dim, round));
      if (stage !== "raw" && softcap !== 0) s = round(round(softcap) * round(Math.tanh(round(s / round(softcap)))));
      if (stage === "masked") {
        const pair = row * this.keys + j;
        if (alibiSlopes) s = round(s - round((alibiSlopes[h] ?? NaN) * Math.abs(position - j)));
        if (bias) s = round(s + (bias.values[this.#biasAt?.[pair] ?? -1] ?? NaN));
        const visible = j >= first && j <= last && mask?.values[this.#maskAt?.[pair] ?? -1] !== 0 && this.#inBlocks(b, h, i, j);
        if (!visible) s = -Infinity;
      }
      scores[j] = s;
    }
    return scores;
  }

  /** One query's masked scores as probabilities, and the log of the sum of their exponentials, sink included. */
  probabilitiesOf(masked: Float64Array, b: number, h: number, i: number): { values: Float64Array; lse: number } {
    const round = this.#round;
    const values = new Float64Array(masked.length);
    // A query that is not in use is not there, so neither is its sink.
    const sink = i < this.#queryLength(b) ? (this.#options.sinks?.[h] ?? -Infinity) : -Infinity;
    let max = sink;
    for (const s of masked) max = Math.max(max, s);
    if (max === -Infinity) return { values, lse: -Infinity };
    let sum = round(Math.exp(round(sink - max)));
    for (let j = 0; j < values.length; j++) {
      const e = round(Math.exp(round((masked[j] ?? NaN) - max)));
      values[j] = e;
      sum = round(sum + e);
    }
    for (let j = 0; j < values.length; j++) values[j] = round((values[j] ?? NaN) / sum);
    return { values, lse: max + Math.log(sum) };
  }

  #keyLength(b: number): number {
    return this.#options.kvLengths?.[b] ?? this.keys;
  }

  #queryLength(b: number): number {
    return this.#options.qLengths?.[b] ?? this.#queries;
  }

  #positionOf(b: number, i: number): number {
    const { queryOffset, causal } = this.#options;
    if (typeof queryOffset === "number") return i + queryOffset;
    return i + (queryOffset?.[b] ?? (causal === "upper-left" ? 0 : this.#keyLength(b) - this.#queryLength(b)));
  }

  /** The first and last key that a query at `position` sees, by everything but masks. */
  #rangeOf(b: number, i: number, position: number): [first: number, last: number] {
    const { causal = false, windowSize: [left, right] = [Infinity, Infinity] } = this.#options;
    if (i >= this.#queryLength(b)) return [0, -1];
    return [position - left, Math.min(this.#keyLength(b) - 1, position + right, causal === false ? Infinity : position)];
  }

  #inBlocks(b: number, h: number, i: number, j: number): boolean {
    const { blockMask } = this.#options;
    return blockMask?.maskMod(blockMask.batch === 1 ? 0 : b, blockMask.heads === 1 ? 0 : h, i, j) ?? true;
  }
}
