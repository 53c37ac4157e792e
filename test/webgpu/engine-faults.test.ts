import { describe, expect, test } from "vitest";
import { BackendError, type Engine, attention, createEngine, softmax, tensor } from "../../src/index.ts";
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
