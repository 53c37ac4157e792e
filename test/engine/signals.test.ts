import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Engine, createEngine, softmax, tensor } from "../../src/index.ts";

const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 1.7) * 3);
const X = tensor(numbers(1200), [4, 300]);
const EXPECTED = softmax(X).data;
const LONG = tensor(numbers(4 * 1536 * 64), [4, 1536, 64]);

describe.each([1, 2])("signals, %s threads", (threads) => {
  let engine: Engine;

  beforeEach(async () => {
    engine = await createEngine({ device: "wasm", threads });
  });

  afterEach(() => {
    vi.restoreAllMocks();
    engine.dispose();
  });

  const long = (signal: unknown): Promise<unknown> => engine.attention(LONG, LONG, LONG, { signal: signal as AbortSignal });

  test.each([
    ["null", null],
    ["a number", 1],
    ["an event target", new EventTarget()],
    ["nothing to remove listeners with", { aborted: false, addEventListener: () => undefined }],
    ["nothing to add listeners with", { aborted: false, removeEventListener: () => undefined }],
  ])("that are not whole are refused when the call is made: %s", async (_, signal) => {
    await expect(long(signal)).rejects.toThrow(/^"signal" expected an AbortSignal, got /);
    expect((await engine.softmax(X)).data).toEqual(EXPECTED);
  });

  test("that throw stop neither their call nor those after it", async () => {
    const fail = (): never => {
      throw new Error("a foreign error");
    };
    const signal = { aborted: false, reason: undefined, addEventListener: fail, removeEventListener: fail };
    const calls = [long(signal), engine.softmax(X, { signal }), long(signal), engine.softmax(X)] as const;
    await Promise.all(calls);
    expect((await calls[1]).data).toEqual(EXPECTED);
  });

  test("whose reason throws reject what waits with what they throw", async () => {
    let abort: () => void = () => undefined;
    const signal = {
      aborted: false,
      get reason(): never {
        throw new Error("a foreign error");
      },
      addEventListener: (_: string, listener: () => void) => (abort = listener),
      removeEventListener: () => undefined,
    };
    const calls = [long(new AbortController().signal), long(signal), engine.softmax(X)] as const;
    abort();
    await expect(calls[1]).rejects.toThrow("a foreign error");
    expect((await calls[2]).data).toEqual(EXPECTED);
    await calls[0];
  });

  test("have one listener, however many calls wait, and none afterwards", async () => {
    const { signal } = new AbortController();
    const [added, removed] = [vi.spyOn(signal, "addEventListener"), vi.spyOn(signal, "removeEventListener")];
    await Promise.all([long(signal), ...Array.from({ length: 12 }, () => engine.softmax(X, { signal }))]);
    expect(added).toHaveBeenCalledOnce();
    expect(removed).toHaveBeenCalledOnce();
  });

  test("abort all calls that wait for them", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error("enough");
    const calls = Promise.allSettled(Array.from({ length: 3 }, () => long(signal)));
    controller.abort(reason);
    expect(await calls).toEqual(new Array(3).fill({ status: "rejected", reason }));
    expect((await engine.softmax(X)).data).toEqual(EXPECTED);
  });
});
