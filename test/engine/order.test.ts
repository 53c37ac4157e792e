import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { DisposedError, type Engine, type ModuleTensor, attention, attentionScores, createEngine, empty, softmax, tensor } from "../../src/index.ts";
import { DIVIDED } from "./calibration.ts";
import { READ_BACK, nullDevice } from "./null-gpu.ts";

// Tensors in module memory are reached from both sides, each of which has a queue of its own. The GPU of these tests computes nothing:
// it always gives the same, and what calls read of their operands is seen in what they send.

const numbers = (count: number, seed = 1): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * 1.7) * 3);
const SHAPE = [4, 8];
const q = tensor(numbers(32), SHAPE);
const ATTENDED = attention(q, q, q).data;
const ON_GPU = new Float32Array(32).fill(READ_BACK);

const LONG = tensor(numbers(4 * 1536 * 64, 2), [4, 1536, 64]);

describe.each([1, 2])("calls of both sides over module memory, %s threads", (threads) => {
  let engine: Engine;
  let device: GPUDevice;
  let written: Float32Array[];
  let kept: ModuleTensor<"f32">;

  beforeEach(async () => {
    ({ device, written } = await nullDevice());
    engine = await createEngine({ gpu: device, threads, calibration: DIVIDED });
    kept = engine.empty(SHAPE, { device: "wasm" });
    kept.data.fill(7);
  });

  afterEach(() => {
    engine.dispose();
    device.destroy();
  });

  /** A call on the CPU behind which the next ones wait. */
  const occupyCpu = (options: { readonly out?: ModuleTensor; readonly signal?: AbortSignal } = {}, on = engine): Promise<unknown> =>
    on.attention(LONG, LONG, LONG, { signal: new AbortController().signal, ...options });

  /** What was sent of `SHAPE`: uniforms are smaller. */
  const operands = (): readonly Float32Array[] => written.filter(({ length }) => length === 32);

  /** Grows the module's memory, which detaches views of it where threads do not share it. */
  const grow = (): ModuleTensor<"f32"> => engine.empty([1 << 20], { device: "wasm" });

  test("the GPU reads what the CPU wrote before", async () => {
    const calls = [occupyCpu(), engine.attention(q, q, q, { out: kept }), engine.softmax(kept)];
    grow();
    await Promise.all(calls);
    expect(written).toContainEqual(ATTENDED);
    expect(written).not.toContainEqual(new Float32Array(32).fill(7));
  });

  test("the CPU reads what the GPU wrote before", async () => {
    const calls = [
      engine.softmax(q, { out: kept }),
      engine.attention(q, kept, kept),
      engine.attentionScores(kept, q, { stage: "raw" }),
      engine.mergeStates([{ out: kept, lse: new Float32Array(4) }]),
    ] as const;
    grow();
    await calls[0];
    expect((await calls[1]).data).toEqual(ON_GPU);
    expect((await calls[2]).data).toEqual(attentionScores(tensor(ON_GPU, SHAPE), q, { stage: "raw" }).data);
    expect((await calls[3]).out.data).toEqual(ON_GPU);
    expect(kept.data).toEqual(ON_GPU);
  });

  test("the GPU reads what it wrote before", async () => {
    const calls = [engine.softmax(q, { out: kept }), engine.softmax(kept), engine.upload(kept)];
    grow();
    await Promise.all(calls);
    expect(operands()).toEqual([q.data, ON_GPU, ON_GPU]);
  });

  test("the GPU does not wait to read what it reads already, nor to write what it will write", async () => {
    await engine.softmax(q);
    written.length = 0;
    const outs = Array.from({ length: 3 }, () => engine.empty(SHAPE, { device: "wasm" }));
    const calls = [engine.softmax(kept), engine.softmax(kept), ...outs.map((out) => engine.softmax(q, { out }))];
    // All of them have been read by now.
    expect(operands()).toEqual([...new Array<Float32Array>(2).fill(kept.data), ...new Array<Float32Array>(3).fill(q.data)]);
    await Promise.all(calls);
    for (const out of outs) expect(out.data).toEqual(ON_GPU);
  });

  test("the CPU does not wait for what the GPU has read", async () => {
    await engine.softmax(q);
    let settled = false;
    const reading = engine.softmax(kept).then(() => (settled = true));
    await engine.attention(kept, kept, kept);
    expect(settled).toBe(false);
    await reading;
  });

  test("the GPU does not write before the CPU has read", async () => {
    const calls = [occupyCpu(), engine.attention(q, kept, kept), engine.softmax(q, { out: kept })] as const;
    await calls[2];
    expect(kept.data).toEqual(ON_GPU);
    expect(new Set((await calls[1]).data)).toEqual(new Set([7]));
  });

  test("upload reads what the CPU wrote before", async () => {
    const calls: Promise<unknown>[] = [occupyCpu(), engine.attention(q, q, q, { out: kept })];
    const flat = kept.data;
    calls.push(engine.upload(kept), engine.upload(flat), engine.upload({ data: flat.subarray(8, 16), shape: [2, 4] }));
    grow();
    await Promise.all(calls);
    expect(written).toEqual([ATTENDED, ATTENDED, ATTENDED.slice(8, 16)]);
  });

  test("in turns, where a call that waits is not overtaken by one that need not", async () => {
    const other = engine.empty(SHAPE, { device: "wasm" });
    const onGpu = await engine.upload(q);
    const settled: string[] = [];
    const note = async (name: string, call: Promise<unknown>): Promise<void> => {
      await call;
      settled.push(name);
    };
    const out = engine.empty(SHAPE, { device: "webgpu" });
    await Promise.all([
      note("cpu", occupyCpu()),
      note("cpu writes", engine.attention(q, q, q, { out: kept })),
      note("gpu reads", engine.softmax(onGpu, { bias: kept, out })),
      note("gpu reads that", engine.download(out)),
      note("gpu writes", engine.softmax(q, { out: kept })),
      note("cpu reads", engine.attention(kept, kept, kept, { out: other })),
      note("cpu reads that", engine.attention(other, other, other)),
    ]);
    expect(settled.slice(0, 2)).toEqual(["cpu", "cpu writes"]);
    expect(new Set(settled.slice(2, 4))).toEqual(new Set(["gpu reads", "gpu reads that"]));
    expect(settled.slice(-3)).toEqual(["gpu writes", "cpu reads", "cpu reads that"]);
    expect(written).toContainEqual(ATTENDED);
    expect(other.data).toEqual(ON_GPU);
  });

  test("a call that uses nothing in place does not wait", async () => {
    const stop = new AbortController();
    const longer = tensor(numbers(8 * 4096 * 64), [8, 4096, 64]);
    const out = engine.empty(longer.shape, { device: "wasm" });
    const calls = [engine.attention(longer, longer, longer, { out, signal: stop.signal }), engine.softmax(kept)] as const;
    await engine.softmax(q);
    (await engine.upload(q)).dispose();
    stop.abort(new Error("enough"));
    await expect(calls[0]).rejects.toThrow("enough");
    await calls[1];
  });

  test("arrays of the caller are read before a call that waits returns", async () => {
    const [bias, queries] = [numbers(32, 3), numbers(32, 4)];
    const [wanted, given] = [bias.slice(), tensor(queries.slice(), SHAPE)];
    kept.data.set(q.data);
    const other = engine.empty(SHAPE, { device: "wasm" });
    other.data.set(q.data);
    const calls = [
      occupyCpu({ out: engine.empty(LONG.shape, { device: "wasm" }) }),
      engine.softmax(kept, { bias: tensor(bias, SHAPE), out: kept }),
      engine.attention(tensor(queries, SHAPE), kept, kept),
      engine.attention(tensor(queries, SHAPE), other, other),
    ] as const;
    bias.fill(NaN);
    queries.fill(NaN);
    await calls[0];
    await calls[1];
    expect(written).toContainEqual(wanted);
    expect((await calls[2]).data).toEqual(ON_GPU);
    expect((await calls[3]).data).toEqual(attention(given, q, q).data);
  });

  test("a call that fails is no obstacle to the next, and writes nothing", async () => {
    const reason = new Error("enough");
    const stops = [new AbortController(), new AbortController()] as const;
    const calls = [
      engine.softmax(q, { out: kept, signal: stops[0].signal }),
      engine.attention(q, kept, kept),
      occupyCpu({ out: engine.empty(LONG.shape, { device: "wasm" }), signal: stops[1].signal }),
      engine.upload(kept),
    ] as const;
    for (const stop of stops) stop.abort(reason);
    await expect(calls[0]).rejects.toBe(reason);
    expect(new Set((await calls[1]).data)).toEqual(new Set([7]));
    await expect(calls[2]).rejects.toBe(reason);
    await calls[3];
    expect(written).toContainEqual(new Float32Array(32).fill(7));
  });

  test("a call that waits can be given up at once, and the next ones keep their order", async () => {
    const stop = new AbortController();
    let busy = true;
    const first = occupyCpu().then(() => (busy = false));
    const calls = [
      engine.attention(q, q, q, { out: kept }),
      engine.softmax(kept, { signal: stop.signal }),
      engine.softmax(q, { out: kept, signal: stop.signal }),
      engine.upload(kept),
    ] as const;
    stop.abort(new Error("enough"));
    await expect(calls[1]).rejects.toThrow("enough");
    await expect(calls[2]).rejects.toThrow("enough");
    expect(busy).toBe(true);
    await Promise.all([first, calls[0], calls[3]]);
    expect(written).toEqual([ATTENDED]);
  });

  test("memory may grow between a call and its result", async () => {
    const wide = engine.empty([4, 16], { device: "wasm" });
    wide.data.fill(7);
    const others = [engine.empty(SHAPE, { device: "wasm" }), engine.empty([40], { device: "wasm" })] as const;
    const plain = empty(SHAPE);
    const calls = [
      engine.softmax(q, { out: kept }),
      engine.softmax(q, { out: { data: wide.data, shape: SHAPE, strides: [16, 2], dtype: "f32" } }),
      engine.logSoftmax(q, { out: others[0].data }),
      engine.softmax(q, { out: others[1].data.subarray(8) }),
      engine.softmax(q, { out: plain }),
    ];
    grow();
    const grown = empty([1 << 20]);
    await Promise.all(calls);
    expect(kept.data).toEqual(ON_GPU);
    expect([...wide.data]).toEqual(Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? READ_BACK : 7)));
    expect(others[0].data).toEqual(ON_GPU);
    expect(others[1].data.subarray(8)).toEqual(ON_GPU);
    expect(plain.data).toEqual(ON_GPU);
    for (const tensor of [plain, grown]) tensor.dispose();
  });

  test("and so it may on a GPU that takes all calls", async () => {
    const all = await createEngine({ device: "webgpu", gpu: device, threads });
    const [out, wide] = [all.empty(SHAPE, { device: "wasm" }), all.empty([4, 16], { device: "wasm" })];
    wide.data.fill(7);
    const strided = { data: wide.data, shape: SHAPE, strides: [16, 2], dtype: "f32" } as const;
    const calls = [all.attention(q, q, q, { out, returnLse: true }), all.attention(q, q, q, { out: strided }), all.softmax(out)];
    all.empty([1 << 20], { device: "wasm" });
    await Promise.all(calls);
    expect(out.data).toEqual(ON_GPU);
    expect([...wide.data]).toEqual(Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? READ_BACK : 7)));
    all.dispose();
  });

  test("memory may grow while calls wait for the CPU, and by their being made", async () => {
    const cpu = await createEngine({ device: "wasm", threads });
    const x = cpu.empty(SHAPE, { device: "wasm" });
    x.data.set(q.data);
    const [wide, out] = [cpu.empty([4, 16], { device: "wasm" }), cpu.empty(SHAPE, { device: "wasm" })];
    const strided = (data: Float32Array) => ({ data, shape: SHAPE, strides: [16, 2], dtype: "f32" }) as const;
    wide.data.fill(7);
    const many = Float64Array.from(numbers(1 << 19));
    const [results, plain] = [cpu.empty([1 << 19], { dtype: "f64", device: "wasm" }), empty(SHAPE)];
    const calls = [
      occupyCpu({}, cpu),
      cpu.attention(x, x, x, { out: strided(wide.data) }),
      cpu.attention(strided(wide.data), x, x, { out }),
      cpu.attentionScores(x, x, { stage: "raw" }),
      cpu.mergeStates([{ out: x, lse: new Float32Array(4) }]),
      cpu.softmax(many, { out: results }),
      cpu.attention(q, q, q, { out: plain }),
    ] as const;
    cpu.empty([1 << 20], { device: "wasm" });
    const grown = empty([1 << 20]);
    await Promise.all(calls);
    expect([...wide.data]).toEqual(Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? ATTENDED[i / 2] : 7)));
    expect(out.data).toEqual(attention(tensor(ATTENDED, SHAPE), q, q).data);
    expect((await calls[3]).data).toEqual(attentionScores(q, q, { stage: "raw" }).data);
    expect((await calls[4]).out.data).toEqual(q.data);
    expect(results.data).toEqual(softmax(many).data);
    expect(plain.data).toEqual(ATTENDED);
    for (const tensor of [plain, grown]) tensor.dispose();
    cpu.dispose();
  });

  test("a tensor that is disposed of while a call is to write it keeps its place until then", async () => {
    const calls = [engine.softmax(q, { out: kept }), occupyCpu(), engine.attention(kept, kept, kept)] as const;
    kept.dispose();
    const next = engine.empty(SHAPE, { device: "wasm" });
    next.data.fill(5);
    await Promise.all(calls);
    expect((await calls[2]).data).toEqual(ON_GPU);
    expect(next.data).toEqual(new Float32Array(32).fill(5));
  });

  test("disposing rejects what runs and what waits, and leaves no rejection unhandled", async () => {
    const unhandled: unknown[] = [];
    const note = (error: unknown): unknown => unhandled.push(error);
    process.on("unhandledRejection", note);
    const calls = [
      occupyCpu(),
      engine.attention(q, q, q, { out: kept }),
      engine.softmax(kept),
      engine.softmax(kept, { signal: new AbortController().signal }),
      engine.softmax(q),
      engine.attentionScores(q, q),
      engine.upload(kept),
      engine.attention(kept, kept, kept),
    ];
    engine.dispose();
    const results = await Promise.allSettled(calls);
    await new Promise((resolve) => setTimeout(resolve, 50));
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
    for (const result of results) expect(result).toMatchObject({ status: "rejected", reason: expect.any(DisposedError) as unknown });
  });
});
