import { afterAll, expect, test } from "vitest";
import { type AttendOptions, type KVCache, type KVCacheOptions, type Layout, type Tensor, convert, quantize } from "../../src/index.ts";
import type { Instance } from "../../src/testing/testing.ts";
import { numbers } from "../support/numbers.ts";
import { fc } from "../support/property.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

// A cache gives the same bits as attention over everything appended (SEMANTICS, "KV cache"), whatever happened to it before. The model
// keeps every token in plain arrays.

const [BATCH, HEADS, GROUP, DIM, VALUE_DIM] = [2, 2, 2, 5, 9];

interface Setting extends Pick<KVCacheOptions, "window" | "sinkTokens" | "dtype"> {
  readonly layout: Layout;
}

/** One sequence: its tokens, each [HEADS, DIM + VALUE_DIM], and the first one behind the sink tokens that is kept. */
interface Sequence {
  tokens: Float32Array[];
  first: number;
}

let seed = 0;
const token = (): Float32Array => numbers("normal", HEADS * (DIM + VALUE_DIM), ++seed);

/** A tensor [B, heads, length, width] of what `at` says, in a layout. */
function tensorOf(
  layout: Layout,
  heads: number,
  length: number,
  width: number,
  at: (b: number, h: number, i: number) => ArrayLike<number> | undefined,
): Tensor<"f32"> {
  const data = new Float32Array(BATCH * heads * length * width);
  for (let b = 0; b < BATCH; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < length; i++) data.set(at(b, h, i) ?? [], (layout === "bhld" ? (b * heads + h) * length + i : (b * length + i) * heads + h) * width);
    }
  }
  return { data, shape: layout === "bhld" ? [BATCH, heads, length, width] : [BATCH, length, heads, width], dtype: "f32" };
}

const keyOf = (t: Float32Array | undefined, h: number): Float32Array | undefined => t?.subarray(h * DIM, (h + 1) * DIM);
const valueOf = (t: Float32Array | undefined, h: number): Float32Array | undefined =>
  t?.subarray(HEADS * DIM + h * VALUE_DIM, HEADS * DIM + (h + 1) * VALUE_DIM);

/** A cache beside its model. */
class Pair {
  readonly #instance: Instance;
  readonly #setting: Setting;
  readonly cache: KVCache;
  readonly #sequences: readonly Sequence[];

  constructor(instance: Instance, setting: Setting, original?: Pair) {
    this.#instance = instance;
    this.#setting = setting;
    this.cache =
      original?.cache.fork() ?? instance.kvCache({ batch: BATCH, heads: HEADS, dim: DIM, valueDim: VALUE_DIM, capacity: 100, grow: true, ...setting });
    this.#sequences = Array.from({ length: BATCH }, (_, b) => {
      const same = original === undefined ? undefined : original.#sequences[b];
      return { tokens: [...(same?.tokens ?? [])], first: same?.first ?? 0 };
    });
  }

  get lengths(): number[] {
    return this.#sequences.map(({ tokens }) => tokens.length);
  }

  append(counts: readonly number[], spare: number): void {
    const { layout, window = Infinity } = this.#setting;
    const length = Math.max(...counts) + spare;
    // What is beyond the lengths must not be read.
    const added = counts.map((count) => Array.from({ length }, (_, i) => (i < count ? token() : new Float32Array(HEADS * (DIM + VALUE_DIM)).fill(NaN))));
    const k = tensorOf(layout, HEADS, length, DIM, (b, h, i) => keyOf(added[b]?.[i], h));
    const v = tensorOf(layout, HEADS, length, VALUE_DIM, (b, h, i) => valueOf(added[b]?.[i], h));
    this.cache.append(k, v, { lengths: counts });
    this.#sequences.forEach((sequence, b) => {
      sequence.tokens.push(...(added[b] ?? []).slice(0, counts[b]));
      sequence.first = Math.max(sequence.first, sequence.tokens.length - window);
    });
  }

  truncate(share: number): void {
    const lengths = this.#sequences.map(({ tokens }) => Math.floor(tokens.length * share));
    this.cache.truncate(lengths);
    this.#sequences.forEach((sequence, b) => {
      sequence.tokens.length = lengths[b] ?? 0;
      sequence.first = Math.min(sequence.first, sequence.tokens.length);
    });
  }

  /** Compares attention of `queries` queries with attention over the model's tokens. */
  attend(queries: number, options: AttendOptions): void {
    const { layout, window = Infinity, sinkTokens = 0, dtype = "f32" } = this.#setting;
    const count = Math.min(queries, window);
    const q = tensorOf(layout, HEADS * GROUP, count, DIM, () => numbers("normal", DIM, ++seed));
    const lengths = this.lengths;
    expect(Array.from(this.cache.lengths)).toEqual(lengths);
    const longest = Math.max(...lengths);
    const stored = (x: Tensor<"f32">): Tensor => (dtype === "f32" ? x : dtype === "i8" ? quantize(x) : convert(x, dtype));
    const k = tensorOf(layout, HEADS, longest, DIM, (b, h, i) => keyOf(this.#sequences[b]?.tokens[i], h));
    const v = tensorOf(layout, HEADS, longest, VALUE_DIM, (b, h, i) => valueOf(this.#sequences[b]?.tokens[i], h));
    const kept = new Uint8Array(BATCH * longest);
    for (let i = 0; i < kept.length; i++) kept[i] = i % longest < sinkTokens || i % longest >= (this.#sequences[Math.floor(i / longest)]?.first ?? 0) ? 1 : 0;
    const mask = { data: kept, shape: [BATCH, 1, 1, longest] };
    const wanted = { causal: true, ...options, kvLengths: lengths, layout, ...(window < Infinity ? { mask } : {}), returnLse: true } as const;
    const expected = this.#instance.attention(q, stored(k), stored(v), wanted);
    const actual = this.cache.attend(q, { ...options, returnLse: true });
    expectSameBits(actual.out.data, expected.out.data, "output");
    expectSameBits(actual.lse.data, expected.lse.data, "log-sum-exp");
  }
}

const count = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 0, max: 3 }) }, fc.integer({ min: 0, max: 70 }), fc.constantFrom(63, 64, 65, 128, 300));
const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("append" as const), counts: fc.tuple(count, count), spare: fc.constantFrom(0, 0, 3) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("attend" as const), queries: fc.constantFrom(1, 1, 3, 40), option: fc.nat(3) }) },
  fc.record({ kind: fc.constant("truncate" as const), share: fc.constantFrom(0, 0.5, 0.9, 1) }),
  fc.record({ kind: fc.constant("fork" as const) }),
  fc.record({ kind: fc.constant("dispose" as const) }),
);

const OPTIONS: readonly AttendOptions[] = [
  {},
  { windowSize: [20, 0], softcap: 3 },
  { alibiSlopes: [1, 0.5, 0.25, 0.125], sinks: [0, 1, -1, 2] },
  { causal: false, qLengths: [1, 0] },
];

const SETTINGS: readonly Setting[] = [
  { layout: "bhld" },
  { layout: "blhd" },
  { layout: "bhld", window: 1 },
  { layout: "blhd", window: 64 },
  { layout: "bhld", window: 100 },
  { layout: "bhld", window: 65, sinkTokens: 4 },
  { layout: "blhd", window: 3, sinkTokens: 64 },
  { layout: "bhld", window: 70, sinkTokens: 70 },
  { layout: "bhld", dtype: "f16" },
  { layout: "blhd", dtype: "bf16", window: 65, sinkTokens: 4 },
  { layout: "blhd", dtype: "i8" },
  { layout: "bhld", dtype: "i8", window: 64 },
];

describeVariants("a cache", (instance) => {
  const used = instance.memory.usedBytes;

  test.each(SETTINGS.map((setting) => [JSON.stringify(setting), setting] as const))("%s is what attention is over the same tokens", (_, setting) => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 3, maxLength: 14 }), fc.nat(), (commands, pick) => {
        const pairs = [new Pair(instance, setting)];
        commands.forEach((c, n) => {
          const at = (pick + n) % pairs.length;
          const pair = pairs[at];
          if (pair === undefined) return;
          if (c.kind === "append") pair.append(c.counts, c.spare);
          else if (c.kind === "attend") pair.attend(c.queries, OPTIONS[c.option] ?? {});
          else if (c.kind === "truncate") pair.truncate(c.share);
          else if (c.kind === "fork") pairs.push(new Pair(instance, setting, pair));
          else if (pairs.length > 1) pairs.splice(at, 1).forEach(({ cache }) => cache.dispose());
        });
        for (const pair of pairs) {
          pair.attend(1, {});
          pair.cache.dispose();
        }
        expect(instance.memory.usedBytes).toBe(used);
      }),
      { numRuns: 40 },
    );
  });

  afterAll(() => expect(instance.memory.usedBytes).toBe(used));
});
