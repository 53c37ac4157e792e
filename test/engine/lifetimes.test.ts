import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DisposedError, type Engine, type ModuleTensor, createEngine, empty, softmax, tensor } from "../../src/index.ts";
import { DIVIDED } from "./calibration.ts";
import { type ResizableBuffer, resizableBuffer } from "../support/resizable.ts";
import { nullDevice } from "./null-gpu.ts";

// Memory that calls in flight use, whoever owns it, and what becomes of it.

const numbers = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 1.7) * 3);
const SHAPE = [64, 300];
const X = tensor(numbers(64 * 300), SHAPE);
const EXPECTED = softmax(X).data;
const LONG = tensor(numbers(4 * 1536 * 64), [4, 1536, 64]);
const OWNERS = ["the plain functions", "another engine", "the engine itself"] as const;

describe.each([1, 2])("calls of an engine, %s threads", (threads) => {
  let engine: Engine;
  let other: Engine;

  beforeEach(async () => {
    [engine, other] = await Promise.all([createEngine({ device: "wasm", threads }), createEngine({ device: "wasm", threads: 1 })]);
  });

  afterEach(() => {
    engine.dispose();
    other.dispose();
  });

  /** A call behind which the next ones wait. */
  const occupy = (): Promise<unknown> => engine.attention(LONG, LONG, LONG, { signal: new AbortController().signal });

  const emptyOf = (owner: (typeof OWNERS)[number]): ModuleTensor<"f32"> =>
    owner === "the plain functions" ? empty(SHAPE) : (owner === "another engine" ? other : engine).empty(SHAPE, { device: "wasm" });

  test.each(OWNERS)("an out of %s that is disposed of meanwhile is nobody else's until the call has settled", async (owner) => {
    const out = emptyOf(owner);
    const calls = [occupy(), engine.softmax(X, { out })];
    out.dispose();
    const others = Array.from({ length: 4 }, () => emptyOf(owner));
    for (const { data } of others) data.fill(7);
    await Promise.all(calls);
    for (const { data } of others) expect(new Set(data)).toEqual(new Set([7]));
    for (const one of others) one.dispose();
  });

  test("an out whose engine has ended rejects with DisposedError", async () => {
    const out = other.empty(SHAPE, { device: "wasm" });
    const calls = [occupy(), engine.softmax(X, { out })] as const;
    other.dispose();
    await expect(calls[1]).rejects.toThrow(DisposedError);
    expect((await engine.softmax(X)).data).toEqual(EXPECTED);
  });

  test.each([
    ["transferred", (buffer: ResizableBuffer) => void structuredClone(buffer, { transfer: [buffer] })],
    ["made smaller", (buffer: ResizableBuffer) => buffer.resize(8)],
  ])("an out whose buffer is %s meanwhile rejects with an error that names it", async (_, change) => {
    for (const count of [19200, 6]) {
      const buffer = resizableBuffer(count * 4);
      const x = tensor(X.data.subarray(0, count), [1, count]);
      const calls = [occupy(), engine.softmax(x, { out: new Float32Array(buffer) })] as const;
      change(buffer);
      await expect(calls[1]).rejects.toThrow(new TypeError('"out" was detached or made smaller while the call ran'));
      await calls[0];
    }
  });

  test("memory of tensors comes back while there is always a call in flight", async () => {
    const shape = [2, 256, 64];
    const q = tensor(numbers(2 * 256 * 64), shape);
    const sizes: number[] = [];
    const loop = async (): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        const out = engine.empty(shape, { device: "wasm" });
        // Begins, and waits for the other loop's call, before it is disposed of.
        await engine.attention(q, q, q, { out, signal: new AbortController().signal });
        out.dispose();
        sizes.push(engine.info().wasm.memoryBytes);
      }
    };
    await Promise.all([loop(), loop()]);
    expect(Math.max(...sizes)).toBe(Math.max(...sizes.slice(0, 10)));
  });
});

describe("a call that waits for the other side", () => {
  test("keeps tensors on the GPU, and an out in memory of others", async () => {
    const { device } = await nullDevice();
    const engine = await createEngine({ gpu: device, threads: 1, calibration: DIVIDED });
    const x = await engine.upload(X);
    const { buffer } = x;
    const [kept, out] = [engine.empty(SHAPE, { device: "wasm" }), empty(SHAPE)];
    const calls = [
      engine.attention(LONG, LONG, LONG, { out: engine.empty([4, 1536, 64], { device: "wasm" }), signal: new AbortController().signal }),
      engine.softmax(x, { out: kept }),
      engine.download(x),
      engine.softmax(X, { out }),
    ];
    const array = new Float32Array(19200);
    const transferred = engine.softmax(X, { out: array });
    structuredClone(array.buffer, { transfer: [array.buffer] });
    await expect(transferred).rejects.toThrow(new TypeError('"out" was detached or made smaller while the call ran'));
    x.dispose();
    out.dispose();
    const [next, foreign] = [engine.empty(SHAPE, { device: "webgpu" }), empty(SHAPE)];
    foreign.data.fill(7);
    expect(next.buffer).not.toBe(buffer);
    await Promise.all(calls);
    expect(new Set(foreign.data)).toEqual(new Set([7]));
    expect(engine.empty(SHAPE, { device: "webgpu" }).buffer).toBe(buffer);
    foreign.dispose();
    engine.dispose();
    device.destroy();
  });
});
