import { describe, expect, test } from "vitest";
import { BackendError, type Engine, attention, createEngine, softmax, tensor } from "../../src/index.ts";
import { calibrationOf } from "../engine/calibration.ts";
import { findGpu } from "../support/gpu.ts";
import { expectClose } from "../support/tolerances.ts";
import { unavailable } from "../support/variants.ts";

// An engine whose device goes away: by itself, in the middle of calls, or because it was passed in and destroyed.

const found = await findGpu();
const numbers = (count: number, seed: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * 1.7) * 3);
const CLOSE = { relative: 1e-5, absolute: 1e-7 };

/** The machine's GPU, with a handle on the devices that it gives away. */
function watched(gpu: GPU): { readonly gpu: GPU; readonly devices: GPUDevice[] } {
  const devices: GPUDevice[] = [];
  const requestAdapter = async (options?: GPURequestAdapterOptions): Promise<GPUAdapter | null> => {
    const adapter = await gpu.requestAdapter(options);
    if (adapter === null) return null;
    const requestDevice = async (descriptor?: GPUDeviceDescriptor): Promise<GPUDevice> => {
      const device = await adapter.requestDevice(descriptor);
      devices.push(device);
      return device;
    };
    return new Proxy(adapter, {
      get(target, name) {
        if (name === "requestDevice") return requestDevice;
        const value = Reflect.get(target, name) as unknown;
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  };
  return { gpu: { requestAdapter } as GPU, devices };
}

/** Waits until an engine has a device again. */
async function reopened(engine: Engine): Promise<void> {
  for (let i = 0; engine.info().webgpu === undefined; i++) {
    if (i > 1000) expect.fail(`no new device: ${engine.info().off.join("; ")}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

if (found.gpu === undefined) {
  const { reason } = found;
  describe("engines that lose their device", () => {
    test("needs a GPU", ({ skip }) => unavailable(skip, reason));
  });
} else {
  const { gpu } = found;

  describe("engines that lose their device", () => {
    test("in the middle of 100 calls: each of them settles, no data is lost, and the engine works on", async () => {
      const { gpu: given, devices } = watched(gpu);
      const engine = await createEngine({ device: "webgpu", gpu: given, threads: 1 });
      const x = tensor(numbers(3000, 1), [30, 100]);
      const before = x.data.slice();
      const want = softmax(x).data;
      await engine.softmax(x);

      const outs = Array.from({ length: 100 }, () => new Float32Array(3000).fill(7));
      const calls = outs.map((out, i) => {
        if (i === 50) devices[0]?.destroy();
        return engine.softmax(x, { out });
      });
      const settled = await Promise.allSettled(calls);
      let failed = 0;
      settled.forEach((result, i) => {
        const out = outs[i] ?? expect.fail();
        if (result.status === "fulfilled") expectClose(out, want, CLOSE, `call ${i}`);
        else {
          failed++;
          expect(result.reason).toBeInstanceOf(BackendError);
          expect(new Set(out)).toEqual(new Set([7]));
        }
      });
      expect(failed).toBeGreaterThan(0);
      expect(x.data).toEqual(before);

      // At once on the CPU or on the GPU, later on a new device.
      expectClose((await engine.softmax(x)).data, want, CLOSE);
      await reopened(engine);
      expect(devices).toHaveLength(2);
      expect(engine.explain("softmax", { x: [30, 100] }).device).toBe("webgpu");
      expectClose((await engine.softmax(x)).data, want, CLOSE);
      engine.dispose();
    });

    test("tensors on it are lost, and saying so is an error of the backend", async () => {
      const { gpu: given, devices } = watched(gpu);
      const engine = await createEngine({ device: "webgpu", gpu: given, threads: 1 });
      const kept = await engine.upload(tensor(numbers(100, 2), [10, 10]));
      await engine.softmax(kept).then((y) => y.dispose());
      devices[0]?.destroy();
      await reopenedOrOff(engine, devices[0]);
      await expect(engine.softmax(kept)).rejects.toThrow();
      engine.dispose();
    });

    test("a device that was passed in and is destroyed: the CPU takes over, and info says why", async () => {
      const adapter = (await gpu.requestAdapter()) ?? expect.fail("no adapter");
      const device = await adapter.requestDevice();
      const engine = await createEngine({ device: "webgpu", gpu: device, threads: 1 });
      const q = tensor(numbers(2 * 5 * 8, 3), [2, 5, 8]);
      const want = attention(q, q, q).data;
      expectClose((await engine.softmax(q)).data, softmax(q).data, CLOSE);
      device.destroy();
      await reopenedOrOff(engine, device);
      expectClose((await engine.attention(q, q, q)).data, want, CLOSE);
      expect(engine.info().webgpu).toBeUndefined();
      expect(engine.info().off.join()).toMatch(/WebGPU is off: the device was lost/);
      expect(engine.explain("softmax", { x: [4, 4] }).reason).toMatch(/^wasm: WebGPU is off: the device was lost/);
      engine.dispose();
    });
  });

  describe("memory of the GPU", () => {
    test("10,000 calls leave it where it was", async () => {
      const engine = await createEngine({ device: "webgpu", gpu, threads: 1 });
      const x = tensor(numbers(64, 4), [4, 16]);
      const resident = await engine.upload(x);
      const call = async (i: number): Promise<void> => {
        if (i % 2 === 0) await engine.softmax(x);
        else (await engine.softmax(resident)).dispose();
      };
      for (let i = 0; i < 100; i++) await call(i);
      const before = engine.info().webgpu?.bytes;
      for (let i = 0; i < 10_000; i++) await call(i);
      expect(engine.info().webgpu?.bytes).toEqual(before);
      resident.dispose();
      expect(engine.info().webgpu?.bytes.inUse).toBe(0);
      engine.dispose();
    });
  });

  describe("memory of the GPU, of every kind of attention", () => {
    test("300 rounds leave it where it was", async () => {
      const engine = await createEngine({ device: "webgpu", gpu, threads: 1 });
      const shaped = (seed: number, ...shape: number[]) =>
        tensor(
          numbers(
            shape.reduce((a, b) => a * b),
            seed,
          ),
          shape,
        );
      const [q, k, v] = [shaped(1, 2, 70, 8), shaped(2, 2, 90, 8), shaped(3, 2, 90, 8)];
      // Three chunks, which merge.
      const [one, cacheK, cacheV] = [shaped(4, 4, 1, 8), await engine.upload(shaped(5, 2, 300, 8)), await engine.upload(shaped(6, 2, 300, 8))];
      const resident = await engine.upload(one);
      const round = async (): Promise<void> => {
        await engine.attention(q, k, v, { causal: true });
        await engine.attention(one, cacheK, cacheV);
        const state = await engine.attention(resident, cacheK, cacheV, { returnLse: true });
        const merged = await engine.mergeStates([state, state]);
        const scores = await engine.attentionScores(resident, cacheK);
        const packed = await engine.attentionVarlen(shaped(7, 72, 2, 8), shaped(8, 72, 2, 8), shaped(9, 72, 2, 8), { cuSeqlensQ: [0, 2, 72] });
        expect(packed).toMatchObject({ shape: [72, 2, 8] });
        for (const result of [state.out, state.lse, merged.out, merged.lse, scores]) result.dispose();
      };
      for (let i = 0; i < 5; i++) await round();
      const before = engine.info().webgpu;
      for (let i = 0; i < 300; i++) await round();
      expect(engine.info().webgpu).toEqual(before);
      for (const operand of [cacheK, cacheV, resident]) operand.dispose();
      expect(engine.info().webgpu?.bytes.inUse).toBe(0);
      engine.dispose();
    });
  });

  describe("an engine that chooses", () => {
    test("has calls on both sides at once, and they give what the plain functions do", async () => {
      const { gpu: given, devices } = watched(gpu);
      // A GPU that wins what takes the CPU more than its round trip of 0.1 ms.
      const engine = await createEngine({ device: "auto", gpu: given, threads: 1, calibration: calibrationOf({ gpuWins: true }) });
      const queue = devices[0]?.queue ?? expect.fail("no device");
      let submissions = 0;
      const submit = queue.submit.bind(queue);
      queue.submit = (commands) => {
        submissions++;
        submit(commands);
      };
      const sizes = [
        { rows: [4, 16], heads: [2, 8, 16], device: "wasm" },
        { rows: [500, 1000], heads: [4, 256, 16], device: "webgpu" },
      ] as const;
      // Those on the CPU and those on the GPU in turn.
      const calls = [0, 1, 2].flatMap((seed) =>
        sizes.flatMap(({ rows, heads, device }) => {
          const x = tensor(numbers(rows[0] * rows[1], seed), rows);
          const q = tensor(numbers(heads[0] * heads[1] * heads[2], seed), heads);
          expect(engine.explain("softmax", { x: rows }).device).toBe(device);
          expect(engine.explain("attention", { q: heads, k: heads, v: heads }).device).toBe(device);
          return [
            { promise: engine.softmax(x), expected: softmax(x) },
            { promise: engine.attention(q, q, q), expected: attention(q, q, q) },
          ];
        }),
      );
      for (const { promise, expected } of calls) expectClose((await promise).data, expected.data, { relative: 1e-4, absolute: 1e-6 });
      expect(submissions).toBe(calls.length / 2);
      // Where the operands are decides for the smallest call.
      const kept = await engine.upload(tensor(numbers(64, 5), [4, 16]));
      const y = await engine.softmax(kept);
      expectClose((await engine.download(y)).data, softmax(tensor(numbers(64, 5), [4, 16])).data, CLOSE);
      engine.dispose();
    });
  });

  describe("recording into the caller's encoder", () => {
    test("composes with passes of the caller's", async () => {
      const adapter = (await gpu.requestAdapter()) ?? expect.fail("no adapter");
      const device = await adapter.requestDevice();
      const engine = await createEngine({ device: "webgpu", gpu: device, threads: 1 });
      const x = tensor(numbers(200, 5), [10, 20]);
      const source = await engine.upload(x);
      const input = engine.empty([10, 20], { device: "webgpu" });
      const encoder = device.createCommandEncoder();
      encoder.copyBufferToBuffer(source.buffer as GPUBuffer, source.offset, input.buffer as GPUBuffer, input.offset, 800);
      const recording = engine.encode(encoder);
      const p = recording.softmax(input);
      const twice = recording.softmax(p, { axis: 0 });
      device.queue.submit([encoder.finish()]);
      await recording.check();
      recording.dispose();
      const once = softmax(x);
      expectClose((await engine.download(p)).data, once.data, CLOSE);
      expectClose((await engine.download(twice)).data, softmax(once, { axis: 0 }).data, CLOSE);
      expect(() => engine.encode(device.createCommandEncoder()).softmax(input, { out: new Float32Array(200) as never })).toThrow(
        /^"out" expected a tensor on the GPU/,
      );
      engine.dispose();
      device.destroy();
    });
  });
}

/** Waits until an engine has noticed that a device is gone. */
async function reopenedOrOff(engine: Engine, device: GPUDevice | undefined): Promise<void> {
  await device?.lost;
  for (let i = 0; i < 100 && engine.info().webgpu !== undefined; i++) await new Promise((resolve) => setTimeout(resolve, 1));
}
