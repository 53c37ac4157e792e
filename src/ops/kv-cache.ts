import { compute } from "../backend/wasm/drivers/compute.ts";
import { type CacheSizes, PagedKeys, type Segment } from "../backend/wasm/module/paged-keys.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planAttention } from "../backend/wasm/plans/attention.ts";
import { writeSegment } from "../backend/wasm/plans/page-writes.ts";
import { checkHost } from "../calls/arguments.ts";
import { attentionOptions, checkDim, parseHeads, parseLengths, parsePerBatch, parseScores } from "../calls/attention-arguments.ts";
import { type AttentionCall, type HeadOperand, headOperand } from "../calls/attention-call.ts";
import { type HeadSizes, type Layout, sizesOf } from "../calls/head-layout.ts";
import { visibleKeys } from "../calls/key-range.ts";
import { disposeSymbol } from "../errors/dispose-symbol.ts";
import { DisposedError, UnsupportedError, describe } from "../errors/errors.ts";
import { checkOptions, parseChoice, parseCount, parseFlag, parseObject } from "../errors/options.ts";
import type { RotaryAngles } from "../calls/rotary-call.ts";
import type { ArrayHandle } from "../tensor/array.ts";
import { type Tensor, type TensorLike, type View, toView } from "../tensor/tensor.ts";
import { turnKeys } from "./apply-rotary.ts";
import { type AttentionOptions, type AttentionResultWithLse, attentionCall } from "./attention.ts";
import { convertView } from "./convert.ts";

/** Options of {@link KVCache}. */
export interface KVCacheOptions {
  /** How many sequences there are. Default 1. */
  readonly batch?: number;
  /** Heads of keys and values. */
  readonly heads: number;
  /** Head dimension of queries and keys, at most 1024. */
  readonly dim: number;
  /** Head dimension of values, at most 1024. Default `dim`. */
  readonly valueDim?: number;
  /** The most tokens of a sequence. Needed unless there is a `window`. Memory is taken as tokens arrive, 64 at a time. */
  readonly capacity?: number;
  /** How keys and values are stored. Default "f32"; "i8" has a scale for each head of a token. */
  readonly dtype?: "f32" | "f16" | "bf16" | "i8";
  /** Order of the dimensions of keys, values, queries and outputs. Default "bhld". */
  readonly layout?: Layout;
  /** Keeps only so many of the latest tokens, in constant memory. Positions go on counting; what was dropped is masked. */
  readonly window?: number;
  /** Keeps so many of the first tokens besides the window (attention sinks: Xiao et al., arXiv:2309.17453). Default 0. */
  readonly sinkTokens?: number;
  /** Doubles the capacity when it is used up, instead of throwing. Default false. */
  readonly grow?: boolean;
}

/** Options of {@link KVCache.append}. */
export interface AppendOptions {
  /** How many of the tokens count: one number for all sequences, or one for each. The others are not read. Default: all. */
  readonly lengths?: number | Int32Array | readonly number[];
  /** Turns the keys by their positions before they are stored, as `applyRotary` does. `attend` expects queries that have been turned. */
  readonly rotary?: RotaryAngles;
}

/** Options of {@link KVCache.attend}: those of `attention`, with `causal: true` as the default. Lengths and layout are the cache's. */
export type AttendOptions = Omit<AttentionOptions, "kvLengths" | "layout">;

/** What `append` is to write, once it is checked. @internal */
export interface Appended {
  readonly k: HeadOperand;
  readonly v: HeadOperand;
  readonly segments: readonly Segment[];
}

// Marked as pure, so that bundlers drop them from programs without a cache.
const CACHE_OPTIONS = /* @__PURE__ */ new Set(["batch", "heads", "dim", "valueDim", "capacity", "dtype", "layout", "window", "sinkTokens", "grow"]);
const APPEND_OPTIONS = /* @__PURE__ */ new Set(["lengths", "rotary"]);
const ATTEND_OPTIONS = /* @__PURE__ */ attentionOptions("kvLengths", "layout");

/**
 * Keys and values of a model that generates text. A step appends the new token and attends to all of them, without copying what is
 * there. They are in module memory, in pages of 64 tokens (Kwon et al., arXiv:2309.06180), which forks of a cache share.
 *
 * `attend` gives the same bits as `attention` over everything appended.
 *
 * @example
 * ```ts
 * const cache = new KVCache({ heads: 1, dim: 2, capacity: 4096 });
 * const token = tensor(new Float32Array([1, 2]), [1, 1, 1, 2]); // [B, H, T, E]
 * cache.append(token, token);
 * cache.attend(token).data; // [1, 2]
 * cache.dispose();
 * ```
 */
export class KVCache {
  readonly #runtime: Runtime;
  readonly #keys: PagedKeys;
  readonly #layout: Layout;
  readonly #grows: boolean;
  #capacity: number;
  #disposed = false;
  /** The same as {@link KVCache.dispose}, for `using`. */
  declare readonly [Symbol.dispose]: () => void;

  /**
   * @param options - see {@link KVCacheOptions}
   * @throws TypeError or RangeError if an option is wrong, UnsupportedError for head dimensions above 1024
   */
  constructor(options: KVCacheOptions);
  /** `original`: the cache to fork. @internal */
  constructor(options: KVCacheOptions | undefined, runtime: Runtime, original?: KVCache);
  constructor(options?: KVCacheOptions, runtime = defaultRuntime(), original?: KVCache) {
    this.#runtime = runtime;
    // Not a method: bundlers keep every class that has one with a computed name.
    (this as { [disposeSymbol]: () => void })[disposeSymbol] = () => this.dispose();
    if (original !== undefined) {
      this.#layout = original.#layout;
      this.#grows = original.#grows;
      this.#capacity = original.#capacity;
      this.#keys = new PagedKeys(runtime.memory, original.#keys.sizes, original.#keys);
      return;
    }
    const {
      batch = 1,
      heads,
      dim,
      valueDim = dim,
      capacity,
      dtype,
      layout,
      window,
      sinkTokens = 0,
      grow,
    } = parseObject("options", options) as unknown as KVCacheOptions;
    checkOptions(options, CACHE_OPTIONS);
    if (window === undefined && sinkTokens !== 0) throw new RangeError(`"sinkTokens" expected a "window" beside it`);
    this.#layout = parseChoice<Layout>("layout", layout, ["bhld", "blhd"]);
    this.#grows = parseFlag("grow", grow);
    this.#capacity = capacity === undefined && window !== undefined ? Infinity : parseCount("capacity", capacity, 1);
    this.#keys = new PagedKeys(runtime.memory, {
      batch: parseCount("batch", batch, 1),
      heads: parseCount("heads", heads, 1),
      dim: parseDim("dim", dim),
      valueDim: parseDim("valueDim", valueDim),
      dtype: parseChoice<CacheSizes["dtype"]>("dtype", dtype, ["f32", "f16", "bf16", "i8"]),
      window: window === undefined ? Infinity : parseCount("window", window, 1),
      sinkTokens: parseCount("sinkTokens", sinkTokens, 0),
    });
  }

  /** Tokens of each sequence, those included that a window has dropped. A copy. */
  get lengths(): Int32Array {
    return this.#keys.lengths.slice();
  }

  /** The most tokens of a sequence; `Infinity` with a window and no capacity. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Bytes of module memory in use, including pages that forks share. */
  get bytes(): number {
    return this.#keys.bytes;
  }

  /**
   * Writes tokens behind those that are there.
   *
   * @param k - keys [B, H, T, E], or [B, T, H, E] with layout "blhd"; fewer leading dimensions are fine; f32, f16, bf16 or i8 with
   *   scales, whatever the cache stores
   * @param v - values [B, H, T, Ev]
   * @param options - see {@link AppendOptions}
   * @returns this
   * @throws TypeError if an argument has the wrong type, RangeError if a shape does not fit, the capacity does not suffice, or NaN or
   *   infinity is to be stored in i8,
   *   DisposedError after `dispose`, BackendError if memory runs out. On error the cache is as before
   */
  append(k: TensorLike, v: TensorLike, options: AppendOptions = {}): this {
    this.write(this.parseAppend(k, v, options));
    return this;
  }

  /**
   * Attention of queries to the tokens appended so far. By default the last query is at the last token.
   *
   * @param q - queries [B, Hq, L, E] in the cache's layout, in any storage; H divides Hq
   * @param options - see {@link AttendOptions}. What `mask` and `bias` say of keys spans the longest sequence
   * @returns as for `attention`
   * @throws the errors of `attention`, RangeError if more queries than the window may see tokens that it has dropped, DisposedError
   *   after `dispose`
   */
  attend(q: TensorLike, options: AttendOptions & { readonly returnLse: true }): AttentionResultWithLse;
  attend(q: TensorLike, options?: AttendOptions & { readonly returnLse?: false }): Tensor<"f32">;
  attend(q: TensorLike, options?: AttendOptions): Tensor<"f32"> | AttentionResultWithLse;
  attend(q: TensorLike, options?: AttendOptions): Tensor<"f32"> | AttentionResultWithLse {
    return compute(this.#runtime, planAttention, this.parseAttend(q, options));
  }

  /**
   * Forgets all tokens from `length` on, such as those of a draft that was refused. Lengths must not exceed what is there.
   *
   * @param length - one number for all sequences, or one for each
   * @returns this
   * @throws TypeError or RangeError if it is not that, DisposedError after `dispose`
   */
  truncate(length: number | Int32Array | readonly number[]): this {
    this.#check();
    const { lengths } = this.#keys;
    const wanted = parsePerBatch("length", length, lengths.length);
    if (wanted === undefined) throw new TypeError(`"length" expected an integer, an Int32Array or an array of integers, got undefined`);
    wanted.forEach((n, b) => {
      if (n < 0 || n > (lengths[b] ?? 0)) throw new RangeError(`"length" expected at most the ${lengths[b]} tokens of sequence ${b}, got ${n}`);
    });
    wanted.forEach((n, b) => this.#keys.truncate(b, n));
    return this;
  }

  /**
   * An independent cache with the same tokens. Both share them; a page of 64 tokens is copied when one of the two writes into it.
   *
   * @throws DisposedError after `dispose`
   */
  fork(): KVCache {
    this.#check();
    return new KVCache(undefined, this.#runtime, this);
  }

  /** Frees the memory, except what forks use. Using the cache afterwards throws DisposedError; disposing again does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#keys.dispose();
  }

  /** Checks the arguments of `append` and makes room. @internal */
  parseAppend(keys: unknown, values: unknown, options: AppendOptions = {}): Appended {
    this.#check();
    checkOptions(options, APPEND_OPTIONS);
    const { batch, heads, dim, valueDim, dtype } = this.#keys.sizes;
    let k = parseHeads("k", keys);
    let v = parseHeads("v", values);
    checkHost("k", k.data);
    checkHost("v", v.data);
    const { length } = this.#sizesOf("k", k, dim, heads);
    const { length: valueLength } = this.#sizesOf("v", v, valueDim, heads);
    if (valueLength !== length) throw new RangeError(`"v" expected length ${length} as in "k", got ${valueLength}`);
    const counts = parseLengths("lengths", options.lengths, batch, length) ?? new Array<number>(batch).fill(length);
    const longest = this.#keys.lengths.reduce((most, n, b) => Math.max(most, n + (counts[b] ?? 0)), 0);
    if (longest > MAX_TOKENS || (longest > this.#capacity && !this.#grows))
      throw new RangeError(
        `"k" expected tokens that fit into the capacity of ${Math.min(this.#capacity, MAX_TOKENS)}, got ${longest} with those that are there`,
      );
    if (options.rotary !== undefined) k = this.#turn(k, parseObject("rotary", options.rotary), counts, length);
    if (dtype === "i8") [k, v] = [this.#finite("k", k, counts), this.#finite("v", v, counts)];
    const segments = this.#keys.append(counts);
    while (this.#capacity < longest) this.#capacity *= 2;
    return { k: headOperand(k, this.#layout), v: headOperand(v, this.#layout), segments };
  }

  /** Does what `parseAppend` returned. @internal */
  write({ k, v, segments }: Appended): void {
    const { k: keys, v: values } = this.#keys.operands;
    for (const segment of segments) {
      this.#keys.copyOriginal(segment);
      writeSegment(this.#runtime, k, keys, segment, this.#keys.sizes.heads);
      writeSegment(this.#runtime, v, values, segment, this.#keys.sizes.heads);
    }
  }

  /** Checks the arguments of `attend`. @internal */
  parseAttend(queries: unknown, options: AttendOptions = {}): AttentionCall {
    this.#check();
    checkOptions(options, ATTEND_OPTIONS);
    const { heads, dim, valueDim, window, sinkTokens } = this.#keys.sizes;
    const lengths = this.#keys.lengths;
    const layout = this.#layout;
    const q = parseHeads("q", queries);
    const { heads: queryHeads, length: rows } = this.#sizesOf("q", q, dim, undefined);
    if (queryHeads % heads !== 0) throw new RangeError(`"q" expected heads that are a multiple of the ${heads} of the cache, got ${queryHeads}`);
    const { k, v, pages } = this.#keys.operands;
    if (options.blockMask !== undefined && window < Infinity) throw new UnsupportedError(`"blockMask" expected a cache without a window`);
    // Keys and values in the shape that the options refer to.
    const longest = lengths.reduce((most, n) => Math.max(most, n), 0);
    const viewOf = (data: ArrayHandle, width: number): View => ({ data, shape: this.#shapeLike(q, longest, width), strides: q.strides });
    const parsed = parseScores(q, viewOf(k.data, dim), viewOf(v.data, valueDim), { causal: true, ...options, kvLengths: lengths, layout });
    const { sequences, rule, operands } = parsed;
    let reach = 0;
    for (const sequence of sequences) {
      const { from, to } = pages.gone[sequence.batch] ?? { from: 0, to: 0 };
      const { low, count } = visibleKeys(sequence, rule);
      if (rows > window && low < to && low + count > from && from < to)
        throw new RangeError(`"q" expected at most the ${window} queries of the window, got ${rows}: they may see tokens that are gone`);
      reach = Math.max(reach, sequence.offset + sequence.queryLength - 1 - to);
    }
    // Without sink tokens, what was dropped comes first: nobody has to look at it.
    const windowLeft = sinkTokens > 0 ? rule.windowLeft : Math.min(rule.windowLeft, reach);
    const scores = { ...parsed, rule: { ...rule, windowLeft }, operands: { ...operands, k, v }, pages };
    return attentionCall(q, scores, options, { q, bias: operands.bias, mask: operands.mask });
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError("this cache has been disposed");
  }

  /** Sizes of keys, values or queries, which must fit the cache; `heads` if they must be as many. */
  #sizesOf(name: string, { shape }: View, dim: number, heads: number | undefined): HeadSizes {
    const { batch } = this.#keys.sizes;
    if (shape.length < 2 || shape.length > 4) throw new RangeError(`"${name}" expected 2 to 4 dimensions, got shape ${describe(shape)}`);
    const sizes = sizesOf(shape, this.#layout);
    if (sizes.batch !== batch) throw new RangeError(`"${name}" expected batch ${batch} as in the cache, got ${sizes.batch}`);
    if (heads !== undefined && sizes.heads !== heads) throw new RangeError(`"${name}" expected ${heads} heads as in the cache, got ${sizes.heads}`);
    if (sizes.dim !== dim) throw new RangeError(`"${name}" expected last dimension ${dim} as in the cache, got ${sizes.dim}`);
    return sizes;
  }

  /** The shape of keys or values of some length, with the queries' rank. */
  #shapeLike({ shape }: View, length: number, width: number): number[] {
    const { batch, heads } = this.#keys.sizes;
    const inner = this.#layout === "bhld" || shape.length === 2 ? [batch, heads, length, width] : [batch, length, heads, width];
    return inner.slice(4 - shape.length);
  }

  /** Keys turned by the positions that they will have. Tokens that do not count stay as they are. */
  #turn(k: View, rotary: RotaryAngles, counts: readonly number[], length: number): View {
    const { lengths } = this.#keys;
    const positions = counts.flatMap((count, b) => Array.from({ length }, (_, i) => (i < count ? (lengths[b] ?? 0) + i : 0)));
    return toView("k", turnKeys(this.#runtime, k, this.#layout, rotary, positions));
  }

  /** The same numbers in f32. Those that count must be finite, as 8 bits hold no others. */
  #finite(name: string, x: View, counts: readonly number[]): View {
    const wide = convertView(this.#runtime, x, "f32");
    const view = toView(name, wide);
    const { batch, head, row } = headOperand(view, this.#layout);
    const width = x.shape.at(-1) ?? 0;
    counts.forEach((count, b) => {
      for (let t = 0; t < count; t++) {
        for (let h = 0; h < this.#keys.sizes.heads; h++) {
          const at = b * batch + h * head + t * row;
          if (!wide.data.subarray(at, at + width).every(Number.isFinite))
            throw new RangeError(`"${name}" expected finite numbers for a cache in i8, got NaN or infinity`);
        }
      }
    });
    return view;
  }
}

/** The most tokens of a sequence: positions are f32. */
const MAX_TOKENS = 2 ** 24;

function parseDim(name: string, value: unknown): number {
  const dim = parseCount(name, value, 1);
  checkDim(name, dim);
  return dim;
}
