import { describe, expect, test } from "vitest";
import { DisposedError, KVCache, type Tensor, createEngine, tensor } from "../../src/index.ts";
import { numbers } from "../support/numbers.ts";
import { expectSameBits } from "../support/tolerances.ts";

// An engine's cache: the plain cache's bits, on threads, in call order, whatever the caller does to its arrays meanwhile.

const heads = (count: number, tokens: number, seed: number): Tensor<"f32"> => tensor(numbers("normal", count * tokens * 64, seed), [count, tokens, 64]);

describe.each([1, 3])("an engine's cache, %i threads", (threads) => {
  test.each(["f32", "f16", "i8"] as const)("%s: the plain cache's bits, in call order", async (dtype) => {
    const engine = await createEngine({ device: "wasm", threads });
    const options = { heads: 4, dim: 64, capacity: 4096, dtype };
    const [cache, plain] = [engine.kvCache(options), new KVCache(options)];
    const [k, v, one, q, many] = [heads(4, 3000, 1), heads(4, 3000, 2), heads(4, 1, 3), heads(8, 1, 4), heads(8, 200, 5)];
    plain.append(k, v);
    const expected = [plain.attend(many), plain.append(one, one).attend(q)];
    const fork = plain.fork().truncate(2999).append(one, one);
    expected.push(fork.attend(q));

    const bits = one.data.slice();
    const calls = [cache.append(k, v), cache.attend(many), cache.append(one, one), cache.attend(q)] as const;
    const forked = cache.fork();
    one.data.fill(NaN);
    k.data.fill(NaN);
    one.data.set(bits);
    const [, first, , second] = await Promise.all(calls);
    const other = await forked;
    await Promise.all([other.truncate(2999), other.append(one, one)]);
    const third = await other.attend(q, { returnLse: true });
    [first, second, third.out].forEach((result, i) => expectSameBits(result.data, expected[i]?.data ?? new Float32Array(), `result ${i}`));
    expect(Array.from(cache.lengths)).toEqual([3001]);
    other.dispose();
    expectSameBits((await cache.attend(q)).data, second.data);
    cache.dispose();
    fork.dispose();
    plain.dispose();
    await expect(cache.attend(q)).rejects.toThrow(DisposedError);
    engine.dispose();
  });

  test("bad calls reject, and the cache is as before", async () => {
    const engine = await createEngine({ device: "wasm", threads });
    const cache = engine.kvCache({ heads: 4, dim: 64, capacity: 10 });
    await cache.append(heads(4, 3, 1), heads(4, 3, 2));
    const [late, bad] = [cache.append(heads(4, 8, 1), heads(4, 8, 1)), cache.attend(heads(3, 1, 1))];
    await expect(late).rejects.toThrow(/^"k" expected tokens that fit into the capacity of 10, got 11/);
    await expect(bad).rejects.toThrow(/^"q" expected heads that are a multiple of the 4/);
    await expect(cache.attend(heads(4, 1, 1), { signal: AbortSignal.abort(new Error("no")) })).rejects.toThrow("no");
    expect(Array.from(cache.lengths)).toEqual([3]);
    engine.dispose();
    await expect(cache.attend(heads(4, 1, 1))).rejects.toThrow(DisposedError);
    expect(() => engine.kvCache({ heads: 1, dim: 1, capacity: 1 })).toThrow(DisposedError);
  });
});
