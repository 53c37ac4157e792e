import { describe, expect, test } from "vitest";
import { BackendError, DisposedError, KVCache, UnsupportedError, attention, createBlockMask, tensor, type KVCacheOptions } from "../../src/index.ts";
import { createInstance } from "../../src/testing/testing.ts";
import { numbers } from "../support/numbers.ts";
import { type ErrorType, expectThrown, thrown } from "../support/thrown.ts";
import { expectSameBits } from "../support/tolerances.ts";

// A cache's contract: what is refused, with which message, and that a refused call changes nothing.

const SIZES = { batch: 2, heads: 2, dim: 4, valueDim: 3, capacity: 70 } as const;
const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((n, size) => n * size, 1)), shape);
const [K, V, Q] = [zeros(2, 2, 5, 4), zeros(2, 2, 5, 3), zeros(2, 4, 1, 4)];

/** What is passed, the error, and its message. */
type Bad<T> = readonly [what: string, value: T, error: ErrorType, message: string];

const OPTIONS: readonly Bad<unknown>[] = [
  ["a number", 5, TypeError, '"options" expected an object, got 5'],
  ["an unknown name", { ...SIZES, size: 1 }, TypeError, '"size" is not an option here; expected one of batch, heads, dim, valueDim, capacity, dtype, layout, window, sinkTokens, grow'], // prettier-ignore
  ["no heads", { ...SIZES, heads: undefined }, TypeError, '"heads" expected a positive integer, got undefined'],
  ["half a head", { ...SIZES, heads: 0.5 }, RangeError, '"heads" expected a positive integer, got 0.5'],
  ["no batch", { ...SIZES, batch: 0 }, RangeError, '"batch" expected a positive integer, got 0'],
  ["no dim", { ...SIZES, dim: undefined }, TypeError, '"dim" expected a positive integer, got undefined'],
  ["a wide dim", { ...SIZES, dim: 1025 }, UnsupportedError, '"dim" expected a last dimension of at most 1024, got 1025'],
  ["a wide valueDim", { ...SIZES, valueDim: 1025 }, UnsupportedError, '"valueDim" expected a last dimension of at most 1024, got 1025'],
  ["no capacity", { ...SIZES, capacity: undefined }, TypeError, '"capacity" expected a positive integer, got undefined'],
  ["an empty capacity", { ...SIZES, capacity: 0 }, RangeError, '"capacity" expected a positive integer, got 0'],
  ["another layout", { ...SIZES, layout: "lbhd" }, RangeError, '"layout" expected "bhld" | "blhd", got "lbhd"'],
  ["an empty window", { ...SIZES, window: 0 }, RangeError, '"window" expected a positive integer, got 0'],
  ["half a sink", { ...SIZES, window: 4, sinkTokens: 0.5 }, RangeError, '"sinkTokens" expected a non-negative integer, got 0.5'],
  ["sinks without a window", { ...SIZES, sinkTokens: 4 }, RangeError, '"sinkTokens" expected a "window" beside it'],
  ["another dtype", { ...SIZES, dtype: "i4" }, RangeError, '"dtype" expected "f32" | "f16" | "bf16" | "i8", got "i4"'],
  ["grow as a number", { ...SIZES, grow: 1 }, TypeError, '"grow" expected true or false, got 1'],
];

const APPENDS: readonly Bad<readonly unknown[]>[] = [
  ["nothing", [], TypeError, '"k" expected a typed array or a tensor, got undefined'],
  ["no values", [K], TypeError, '"v" expected a typed array or a tensor, got undefined'],
  ["one dimension", [new Float32Array(4), V], RangeError, '"k" expected 2 to 4 dimensions, got shape [4]'],
  ["another batch", [zeros(1, 2, 5, 4), V], RangeError, '"k" expected batch 2 as in the cache, got 1'],
  ["fewer dimensions than the batch needs", [zeros(2, 5, 4), V], RangeError, '"k" expected batch 2 as in the cache, got 1'],
  ["other heads", [zeros(2, 1, 5, 4), V], RangeError, '"k" expected 2 heads as in the cache, got 1'],
  ["another dim", [zeros(2, 2, 5, 3), V], RangeError, '"k" expected last dimension 4 as in the cache, got 3'],
  ["another valueDim", [K, zeros(2, 2, 5, 4)], RangeError, '"v" expected last dimension 3 as in the cache, got 4'],
  ["another length", [K, zeros(2, 2, 4, 3)], RangeError, '"v" expected length 5 as in "k", got 4'],
  ["f64", [{ data: new Float64Array(80), shape: K.shape }, V], TypeError, '"k" expected dtype f32, got f64; attention computes f32'],
  ["an unknown option", [K, V, { length: 3 }], TypeError, '"length" is not an option here; expected one of lengths, rotary'],
  ["a length beyond", [K, V, { lengths: 6 }], RangeError, '"lengths" expected lengths from 0 to 5, got 6'],
  ["a negative length", [K, V, { lengths: [1, -1] }], RangeError, '"lengths" expected lengths from 0 to 5, got -1'],
  ["three lengths", [K, V, { lengths: [1, 1, 1] }], RangeError, '"lengths" expected one number for all or one per batch (2), got 3'],
  ["half a length", [K, V, { lengths: 0.5 }], RangeError, '"lengths" expected integers, got 0.5'],
  ["rotary as a number", [K, V, { rotary: 1 }], TypeError, '"rotary" expected an object, got 1'],
  [
    "positions of its own",
    [K, V, { rotary: { positions: 1 } }],
    TypeError,
    '"positions" is not an option here; expected one of base, rotaryDim, interleaved, scaling',
  ],
  ["an odd rotaryDim", [K, V, { rotary: { rotaryDim: 3 } }], RangeError, '"rotaryDim" expected an even number from 2 to 4, got 3'],
  ["too much", [zeros(2, 2, 68, 4), zeros(2, 2, 68, 3)], RangeError, '"k" expected tokens that fit into the capacity of 70, got 71 with those that are there'],
];

const ATTENDS: readonly Bad<readonly unknown[]>[] = [
  ["nothing", [], TypeError, '"q" expected a typed array or a tensor, got undefined'],
  ["one dimension", [new Float32Array(4)], RangeError, '"q" expected 2 to 4 dimensions, got shape [4]'],
  ["another batch", [zeros(3, 4, 1, 4)], RangeError, '"q" expected batch 2 as in the cache, got 3'],
  ["heads that do not divide", [zeros(2, 3, 1, 4)], RangeError, '"q" expected heads that are a multiple of the 2 of the cache, got 3'],
  ["another dim", [zeros(2, 4, 1, 5)], RangeError, '"q" expected last dimension 4 as in the cache, got 5'],
  ["kvLengths", [Q, { kvLengths: 3 }], TypeError, '"kvLengths" is not an option here; expected one of scale, causal, windowSize, queryOffset, softcap, alibiSlopes, bias, mask, blockMask, sinks, qLengths, out, returnLse'], // prettier-ignore
  ["layout", [Q, { layout: "bhld" }], TypeError, '"layout" is not an option here; expected one of scale, causal, windowSize, queryOffset, softcap, alibiSlopes, bias, mask, blockMask, sinks, qLengths, out, returnLse'], // prettier-ignore
  ["a scale that is none", [Q, { scale: NaN }], RangeError, '"scale" expected a finite number, got NaN'],
  ["another causality", [Q, { causal: "left" }], RangeError, '"causal" expected true, false, "lower-right" or "upper-left", got "left"'],
  ["a mask of all the capacity", [Q, { mask: new Uint8Array(70) }], RangeError, '"mask" expected a shape that broadcasts to [2, 4, 1, 3], got [70]'],
  ["a block mask of another size", [Q, { blockMask: createBlockMask(() => true, { queryLength: 1, keyLength: 4 }) }], RangeError, '"blockMask" expected [2, 4, 1, 3] (or 1 for batch or heads), got [1, 1, 1, 4]'], // prettier-ignore
  ["an out of another shape", [Q, { out: zeros(2, 4, 1, 4) }], RangeError, '"out" expected shape [2, 4, 1, 3], got [2, 4, 1, 4]'],
  ["an out that is the queries", [Q, { out: { data: Q.data.subarray(0, 24), shape: [2, 4, 1, 3] } }], RangeError, '"out" overlaps "q"'],
  ["returnLse as a number", [Q, { returnLse: 1 }], TypeError, '"returnLse" expected true or false, got 1'],
];

const TRUNCATES: readonly Bad<unknown>[] = [
  ["nothing", undefined, TypeError, '"length" expected an integer, an Int32Array or an array of integers, got undefined'],
  ["a negative length", -1, RangeError, '"length" expected at most the 3 tokens of sequence 0, got -1'],
  ["more than there is", [3, 3], RangeError, '"length" expected at most the 2 tokens of sequence 1, got 3'],
  ["three lengths", [1, 1, 1], RangeError, '"length" expected one number for all or one per batch (2), got 3'],
  ["a string", "1", TypeError, '"length" expected an integer, an Int32Array or an array of integers, got "1"'],
];

describe("bad calls of a cache", () => {
  test.each(OPTIONS)("options: %s", (_, options, error, message) => expectThrown(() => new KVCache(options as KVCacheOptions), error, message));

  /** A cache with 3 and 2 tokens, and a check that they are still what they were. */
  function filled() {
    const cache = new KVCache(SIZES);
    const [k, v] = [tensor(numbers("normal", 80), K.shape), tensor(numbers("normal", 60), V.shape)];
    cache.append(k, v, { lengths: [3, 2] });
    const q = tensor(numbers("normal", 32), Q.shape);
    const before = cache.attend(q).data;
    const bytes = cache.bytes;
    const isSame = (): void => {
      expect(Array.from(cache.lengths)).toEqual([3, 2]);
      expect(cache.bytes).toBe(bytes);
      expectSameBits(cache.attend(q).data, before);
    };
    return { cache, isSame };
  }

  test.each(APPENDS)("append: %s", (_, args, error, message) => {
    const { cache, isSame } = filled();
    expectThrown(() => cache.append(...(args as Parameters<KVCache["append"]>)), error, message);
    isSame();
    cache.dispose();
  });

  test.each(ATTENDS)("attend: %s", (_, args, error, message) => {
    const { cache, isSame } = filled();
    expectThrown(() => cache.attend(...(args as Parameters<KVCache["attend"]>)), error, message);
    isSame();
    cache.dispose();
  });

  test.each(TRUNCATES)("truncate: %s", (_, length, error, message) => {
    const { cache, isSame } = filled();
    expectThrown(() => cache.truncate(length as number), error, message);
    isSame();
    cache.dispose();
  });

  test("after dispose", () => {
    const { cache } = filled();
    cache.dispose();
    cache.dispose();
    for (const use of [() => cache.append(K, V), () => cache.attend(Q), () => cache.truncate(0), () => cache.fork()]) {
      const error = thrown(use);
      expect(error).toBeInstanceOf(DisposedError);
      expect(error.message).toBe("this cache has been disposed");
    }
  });

  test("more queries than the window, once tokens are gone", () => {
    const cache = new KVCache({ heads: 1, dim: 4, window: 4 });
    cache.append(zeros(1, 4, 4), zeros(1, 4, 4));
    cache.attend(zeros(1, 5, 4));
    cache.append(zeros(1, 1, 4), zeros(1, 1, 4));
    cache.attend(zeros(1, 4, 4));
    expectThrown(() => cache.attend(zeros(1, 5, 4)), RangeError, '"q" expected at most the 4 queries of the window, got 5: they may see tokens that are gone');
    cache.dispose();
  });

  test("no memory left", () => {
    const instance = createInstance();
    const { memory } = instance;
    const cache = instance.kvCache({ heads: 1, dim: 1024, capacity: 1 << 20 });
    const token = zeros(1, 1, 1024);
    cache.append(token, token);
    Object.defineProperty(memory.memory, "grow", { value: () => { throw new RangeError("no memory"); } }); // prettier-ignore
    const [used, many] = [memory.usedBytes, zeros(1, 600, 1024)];
    expect(thrown(() => cache.append(many, many))).toBeInstanceOf(BackendError);
    expect(memory.usedBytes).toBe(used);
    expect(Array.from(cache.lengths)).toEqual([1]);
    expect(cache.attend(token).data).toEqual(new Float32Array(1024));
  });
});

describe("memory of a cache", () => {
  const instance = createInstance();
  const { memory } = instance;
  const tokens = (count: number) => tensor(numbers("normal", 2 * count * 8, count), [2, count, 8]);

  test("pages of 64 tokens, whatever the capacity", () => {
    const cache = instance.kvCache({ heads: 2, dim: 8, capacity: 1 << 20 });
    expect(cache.bytes).toBe(0);
    const x = tokens(64);
    expect(cache.append(x, x).bytes).toBe(2 * 64 * 16 * 4);
    expect(cache.append(tokens(1), tokens(1)).bytes).toBe(2 * 128 * 16 * 4);
    expect(cache.truncate(64).bytes).toBe(2 * 64 * 16 * 4);
    cache.dispose();
    expect(memory.usedBytes).toBe(0);
  });

  test("a fork takes none until one of the two is written, and then a page", () => {
    const cache = instance.kvCache({ heads: 2, dim: 8, capacity: 300 });
    cache.append(tokens(200), tokens(200));
    const used = memory.usedBytes;
    const fork = cache.fork();
    expect(memory.usedBytes).toBe(used);
    fork.append(tokens(1), tokens(1));
    expect(memory.usedBytes).toBe(used + 2 * 64 * 16 * 4);
    cache.dispose();
    fork.dispose();
    expect(memory.usedBytes).toBe(0);
  });

  test("a window takes the same however long it runs", () => {
    const cache = instance.kvCache({ heads: 2, dim: 8, window: 100, sinkTokens: 4 });
    let most = 0;
    for (let n = 0; n < 1000; n++) most = Math.max(most, cache.append(tokens(1), tokens(1)).bytes);
    expect(most).toBe(4 * 2 * 64 * 16 * 4);
    cache.dispose();
  });

  test("capacity doubles with grow", () => {
    const cache = instance.kvCache({ heads: 2, dim: 8, capacity: 10, grow: true });
    cache.append(tokens(41), tokens(41));
    expect(cache.capacity).toBe(80);
    cache.dispose();
  });

  test("more than a chunk of tokens, at once and one by one", () => {
    const [k, v, q] = [tokens(1100), tokens(1100), tokens(1)];
    const cache = instance.kvCache({ heads: 2, dim: 8, capacity: 1100 });
    const row = (x: typeof k, i: number) => tensor(x.data.subarray(i * 8), [2, 1, 8], { strides: [1100 * 8, 8, 1] });
    for (let i = 0; i < 1100; i++) {
      cache.append(row(k, i), row(v, i));
      if (i % 64 < 2 || i % 1024 < 2) expectSameBits(cache.attend(q).data, instance.attention(q, k, v, { kvLengths: i + 1 }).data);
    }
    cache.dispose();
  });
});

describe("storage of a cache", () => {
  const instance = createInstance();

  test.each([
    ["f32", 4, 0],
    ["f16", 2, 0],
    ["bf16", 2, 0],
    ["i8", 1, 4],
  ] as const)("%s takes its payload, scales included, and nothing else", (dtype, bytes, scale) => {
    const cache = instance.kvCache({ heads: 3, dim: 16, valueDim: 8, capacity: 128, dtype });
    const used = instance.memory.usedBytes;
    cache.append(zeros(3, 128, 16), zeros(3, 128, 8));
    expect(cache.bytes).toBe(128 * 3 * (24 * bytes + 2 * scale));
    expect(instance.memory.usedBytes - used).toBe(cache.bytes);
    cache.dispose();
  });

  test.each([
    ["f16", 1e-3],
    ["bf16", 8e-3],
    ["i8", 1e-2],
  ] as const)("%s errs by at most %f of the largest value", (dtype, most) => {
    const half = (seed: number, count: number) =>
      tensor(
        numbers("normal", 4 * count * 64, seed).map((x) => x / 2),
        [4, count, 64],
      );
    const [q, k, v] = [half(1, 1), half(2, 500), half(3, 500)];
    const cache = instance.kvCache({ heads: 4, dim: 64, capacity: 500, dtype });
    const [actual, expected] = [cache.append(k, v).attend(q).data, instance.attention(q, k, v).data];
    const largest = v.data.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    expect(Math.max(...actual.map((x, i) => Math.abs(x - (expected[i] ?? NaN)))) / largest).toBeLessThanOrEqual(most);
    cache.dispose();
  });

  test("i8 holds no NaN, but does not care about tokens that do not count", () => {
    const cache = instance.kvCache({ heads: 1, dim: 2, capacity: 8, dtype: "i8" });
    const x = tensor(new Float32Array([1, 2, NaN, 1]), [2, 2]);
    expectThrown(() => cache.append(x, zeros(2, 2)), RangeError, '"k" expected finite numbers for a cache in i8, got NaN or infinity');
    expectThrown(() => cache.append(zeros(2, 2), x), RangeError, '"v" expected finite numbers for a cache in i8, got NaN or infinity');
    expect(Array.from(cache.append(x, x, { lengths: 1 }).lengths)).toEqual([1]);
    cache.dispose();
  });

  test.each(["f32", "bf16"] as const)("rotary in append turns keys by their positions, in %s", (dtype) => {
    const [k, v, q] = [tensor(numbers("normal", 2 * 2 * 70 * 8), [2, 2, 70, 8]), tensor(numbers("normal", 2 * 2 * 70 * 8, 2), [2, 2, 70, 8]), tensor(numbers("normal", 2 * 2 * 8, 3), [2, 2, 1, 8])]; // prettier-ignore
    const rotary = { base: 100, rotaryDim: 6, scaling: { type: "linear", factor: 2 } } as const;
    const cache = instance.kvCache({ batch: 2, heads: 2, dim: 8, capacity: 140, dtype });
    const plain = instance.kvCache({ batch: 2, heads: 2, dim: 8, capacity: 140, dtype });
    for (const lengths of [
      [3, 70],
      [66, 1],
    ]) {
      // prettier-ignore
      const before = cache.lengths;
      const positions = [0, 1].flatMap((b) => Array.from({ length: 70 }, (_, i) => (before[b] ?? 0) + i));
      cache.append(k, v, { lengths, rotary });
      plain.append(instance.applyRotary(k, { ...rotary, positions }), v, { lengths });
    }
    expectSameBits(cache.attend(q).data, plain.attend(q).data);
    cache.dispose();
    plain.dispose();
  });
});

test("the plain cache shares the functions' memory", () => {
  const cache = new KVCache({ heads: 1, dim: 4, capacity: 4 });
  const [k, q] = [tensor(numbers("normal", 12), [3, 4]), tensor(numbers("normal", 4, 2), [1, 4])];
  cache.append(k, k);
  expectSameBits(cache.attend(q).data, attention(q, k, k).data);
  cache.dispose();
});
