import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Gpu } from "../../src/backend/webgpu/recorder/gpu.ts";
import { CHECKED_BYTES } from "../../src/backend/webgpu/device/buffers.ts";
import { BackendError, DisposedError, TooLargeError } from "../../src/errors/errors.ts";
import { ArrayHandle } from "../../src/tensor/array.ts";
import type { GpuTensor } from "../../src/tensor/tensor.ts";
import { unavailable } from "../support/variants.ts";
import { type Job, execute, numbersOf, openOn, runToy, someDevice, someGpu, toyProgram, upload } from "./toy.ts";

const gpu = await someGpu();
if (typeof gpu === "string") test("faults of a GPU", ({ skip }) => unavailable(skip, gpu));
else suite(gpu);

function suite(gpu: GPU): void {
  /** A backend on a device of the test's own, what the device complained of, and the number of its submissions. */
  async function start() {
    const device = await someDevice(gpu);
    const uncaptured: string[] = [];
    device.addEventListener("uncapturederror", (event) => uncaptured.push(event.error.message));
    let submissions = 0;
    const submit = device.queue.submit.bind(device.queue);
    device.queue.submit = (commands) => {
      submissions++;
      submit(commands);
    };
    const backend = await openOn(device);
    onTestFinished(() => {
      backend.dispose();
      device.destroy();
    });
    return { backend, device, uncaptured, submissions: () => submissions };
  }

  const x = (): Float32Array => Float32Array.of(1, 2, 3);

  function buffer(device: GPUDevice, numbers: readonly number[]): GpuTensor<"f32"> {
    const buffer = device.createBuffer({ size: numbers.length * 4, usage: 0x80 | 0x4 | 0x8 });
    device.queue.writeBuffer(buffer, 0, new Float32Array(numbers));
    return { buffer, shape: [numbers.length], dtype: "f32" };
  }

  /** Settles within a time in which a call that hangs would not. */
  async function settle(calls: readonly Promise<unknown>[]): Promise<PromiseSettledResult<unknown>[]> {
    const late = new Promise<never>((_, reject) => setTimeout(() => reject(new Error("calls hang")), 10_000));
    return Promise.race([Promise.allSettled(calls), late]);
  }

  /** What a call rejects with; an error if it does not. */
  async function failure(call: Promise<unknown>): Promise<Error> {
    const [settled] = await settle([call]);
    if (settled?.status !== "rejected") throw new Error("the call succeeded");
    return settled.reason as Error;
  }

  /** What a call throws before it returns a promise. */
  function thrown(call: () => unknown): Error {
    try {
      call();
    } catch (error) {
      return error as Error;
    }
    throw new Error("the call was made");
  }

  /** Makes the next `count` buffers of a device, of at least so many bytes, get no memory: they are invalid, and an error says so. Returns what ends it. */
  function starve(device: GPUDevice, count: number, least = CHECKED_BYTES): () => void {
    const [create, push, pop] = [device.createBuffer.bind(device), device.pushErrorScope.bind(device), device.popErrorScope.bind(device)];
    let failed = false;
    device.createBuffer = (descriptor) => {
      if (descriptor.size < least || count-- <= 0) return create(descriptor);
      failed = true;
      push("validation");
      const buffer = create({ ...descriptor, usage: descriptor.usage | NO_USAGE });
      void pop();
      return Object.defineProperty(buffer, "usage", { value: descriptor.usage, configurable: true });
    };
    device.popErrorScope = async () => {
      const starved = failed;
      failed = false;
      const error = await pop();
      return starved ? { message: "no memory" } : error;
    };
    return () => (count = 0);
  }

  /** Bits that no usage has. */
  const NO_USAGE = 0x10000;

  describe("a device that is lost", () => {
    test("in the middle of 100 calls rejects what is under way, and whatever comes later", async () => {
      const { backend, device } = await start();
      const resident = await upload(backend, { data: x(), shape: [3], dtype: "f32" });
      const outs = Array.from({ length: 100 }, () => new Float32Array(3).fill(-1));
      const inputs = outs.map(() => x());
      const calls = outs.map((out, i) => {
        if (i === 50) device.destroy();
        // Arrays, buffers, and calls that wait for a compiler.
        return i % 3 === 0 ? runToy(backend, resident) : runToy(backend, inputs[i] ?? x(), { out, program: toyProgram(i % 3 === 1 ? "lost" : `lost ${i}`) });
      });
      const settled = await settle(calls);
      settled.forEach((call, i) => {
        if (call.status === "rejected") expect(call.reason, `call ${i}`).toBeInstanceOf(BackendError);
        // Written entirely, or not at all.
        if (i % 3 !== 0) expect(Array.from(outs[i] ?? []), `out ${i}`).toEqual(call.status === "fulfilled" ? [2, 4, 6] : [-1, -1, -1]);
        expect(inputs[i]).toEqual(x());
      });
      expect(settled.slice(50).every((call) => call.status === "rejected")).toBe(true);

      expect(backend.ended).toBeInstanceOf(BackendError);
      expect(backend.ended?.message).toContain("the GPU device was lost (destroyed)");
      expect(backend.state.bytes).toMatchObject({ inUse: 0, pooled: 0 });
      expect(await failure(runToy(backend, x()))).toBe(backend.ended);
      expect(await failure(upload(backend, { data: x(), shape: [3], dtype: "f32" }))).toBe(backend.ended);
      expect(() => backend.empty([1])).toThrow(BackendError);
      expect(() => resident.dispose()).not.toThrow();
    });

    test("does not leave calls waiting for a compiler that never answers", async () => {
      const { backend, device } = await start();
      device.createComputePipelineAsync = () => new Promise(() => undefined);
      const calls = [runToy(backend, x()), runToy(backend, x())];
      await new Promise((resolve) => setTimeout(resolve, 20));
      device.destroy();
      for (const call of await settle(calls)) expect((call as PromiseRejectedResult).reason).toBe(backend.ended);
    });

    test("does not leave calls waiting for a mapping that never comes", async () => {
      const { backend, device } = await start();
      const create = device.createBuffer.bind(device);
      device.createBuffer = (descriptor) => {
        const made = create(descriptor);
        if ((descriptor.usage & 1) !== 0) made.mapAsync = () => new Promise(() => undefined);
        return made;
      };
      const call = runToy(backend, x());
      await new Promise((resolve) => setTimeout(resolve, 50));
      device.destroy();
      expect(await failure(call)).toBe(backend.ended);
    });
  });

  describe("a GPU without memory", () => {
    const LARGE = CHECKED_BYTES / 4;

    test("gets back what the pool keeps, and the call succeeds", async () => {
      const { backend, device } = await start();
      const data = new Float32Array(LARGE).fill(3);
      (await upload(backend, { data: new Float32Array(LARGE * 4), shape: [LARGE * 4], dtype: "f32" })).dispose();
      expect(backend.state.bytes.pooled).toBeGreaterThanOrEqual(CHECKED_BYTES * 4);
      // The operand, the addend, the result, and where it lands.
      starve(device, 4);
      const pending = runToy(backend, data, { bias: new Float32Array(LARGE).fill(1) });
      data.fill(99);
      const { data: y } = (await pending) as { data: Float32Array };
      expect(y.every((number) => number === 7)).toBe(true);
      // What the pool kept from before is gone; the operand, the addend, the result, the landing and the uniforms are kept now.
      expect(backend.state.bytes).toEqual({ inUse: 0, pooled: 4 * CHECKED_BYTES + 256, created: 1 + 8 + 1 });
    });

    test("gets it for results that stay on the GPU, too", async () => {
      const { backend, device } = await start();
      const resident = await upload(backend, { data: new Float32Array(LARGE).fill(3), shape: [LARGE], dtype: "f32" });
      starve(device, 1);
      const y = await runToy(backend, resident, { bias: resident as GpuTensor });
      expect((await numbersOf(backend, y)).every((number) => number === 9)).toBe(true);
    });

    test("that has none left fails the call before anything is submitted", async () => {
      const { backend, device, uncaptured, submissions } = await start();
      const before = backend.state.bytes.inUse;
      starve(device, 100);
      const out = new Float32Array(LARGE).fill(-1);
      const error = await failure(runToy(backend, new Float32Array(LARGE), { out }));
      expect(error).toBeInstanceOf(BackendError);
      expect(error.message).toMatch(/^the GPU has no memory for a buffer of 1048576 bytes \(\d+ bytes are in use\)$/);
      expect(submissions()).toBe(0);
      expect(out.every((number) => number === -1)).toBe(true);
      expect(backend.state.bytes.inUse).toBe(before);
      expect(await failure(upload(backend, { data: out, shape: [LARGE], dtype: "f32" }))).toBeInstanceOf(BackendError);
      expect(uncaptured).toEqual([]);
      expect(await runToy(backend, x()), "small calls go on").toEqual({ data: Float32Array.of(2, 4, 6), shape: [3], dtype: "f32" });
    });

    test("for small buffers fails the calls that use them, and no later ones", async () => {
      const { backend, device, uncaptured } = await start();
      // The addend's own array is one of the call's, so that operands, results, what is read back and uniforms are starved in turn.
      for (let starved = 1; starved <= 4; starved++) {
        const feed = starve(device, starved, 0);
        const error = await failure(runToy(backend, x()));
        feed();
        expect(error).toBeInstanceOf(BackendError);
        expect(error.message).toMatch(/^the GPU (refused the commands of|failed) a call: /);
      }
      const feed = starve(device, 1, 0);
      const resident = await upload(backend, { data: x(), shape: [3], dtype: "f32" });
      expect(await failure(runToy(backend, resident))).toBeInstanceOf(BackendError);
      resident.dispose();
      feed();
      for (let i = 0; i < 3; i++) expect(await runToy(backend, x())).toEqual({ data: Float32Array.of(2, 4, 6), shape: [3], dtype: "f32" });
      await device.queue.onSubmittedWorkDone();
      expect(uncaptured).toEqual([]);
      expect(backend.state.bytes.inUse).toBe(0);
    });

    test("is told by the first call with a tensor that was made empty", async () => {
      const { backend, device, submissions } = await start();
      starve(device, 1);
      const tensor = backend.empty([LARGE]);
      expect((await failure(runToy(backend, tensor))).message).toMatch(new RegExp(`^the GPU has no memory for a buffer of ${CHECKED_BYTES} bytes`));
      expect(submissions()).toBe(0);
    });
  });

  describe("what a device does not allow is told before anything is submitted:", () => {
    /** A job that asks for too much in one way. */
    const asking = (record: Job["record"]): Job => ({ operands: [], results: [{ shape: [3] }], record });

    test.each<[string, typeof BackendError, Job["record"], RegExp]>([
      [
        "a buffer",
        TooLargeError,
        (recorder) => void recorder.scratch(recorder.traits.bufferBytes + 4),
        /^a buffer of \d+ bytes is needed, but this GPU allows \d+$/,
      ],
      [
        "a binding",
        TooLargeError,
        (recorder, [y]) => {
          if (y === undefined) return;
          const large = { ...recorder.scratch(4), byteLength: recorder.traits.bindingBytes + 4 };
          recorder.run(toyProgram(), new ArrayBuffer(32), [large, large, y], [1, 1, 1]);
        },
        /^program "toy" binds 134217732 bytes, but this GPU allows 134217728 in one binding$/,
      ],
      [
        "a dispatch",
        TooLargeError,
        (recorder, [y]) => {
          const input = recorder.input(ArrayHandle.of(x(), "f32"));
          if (y !== undefined) recorder.run(toyProgram(), new ArrayBuffer(32), [input, input, y], [65536, 1, 1]);
        },
        /^program "toy" needs \[65536, 1, 1\] workgroups, but this GPU allows 65535 per dimension$/,
      ],
      [
        "one buffer for reading and writing",
        BackendError,
        (recorder, [y]) => {
          if (y !== undefined) recorder.run(toyProgram(), new ArrayBuffer(32), [recorder.input(ArrayHandle.of(x(), "f32")), y, y], [1, 1, 1]);
        },
        /^program "toy" reads and writes the same buffer$/,
      ],
    ])("%s", async (_, type, record, message) => {
      const { backend, submissions } = await start();
      // At once, while the caller's arrays hold what they did.
      const error = thrown(() => execute(backend, asking(record)));
      expect(error).toBeInstanceOf(type);
      expect(error.message).toMatch(message);
      expect(submissions()).toBe(0);
      expect(backend.state.bytes.inUse).toBe(0);
    });
  });

  describe("commands that the device refuses", () => {
    test("reject the call, and only that", async () => {
      const { backend, device, uncaptured } = await start();
      const destroyed = buffer(device, [1, 2, 3]);
      (destroyed.buffer as GPUBuffer).destroy();
      const out = Float32Array.of(-1, -1, -1);
      const calls = [runToy(backend, destroyed), runToy(backend, x()), runToy(backend, x(), { bias: destroyed, out })];
      const settled = await settle(calls);
      expect(settled.map((call) => call.status)).toEqual(["rejected", "fulfilled", "rejected"]);
      for (const call of settled) if (call.status === "rejected") expect(call.reason).toBeInstanceOf(BackendError);
      expect((settled[0] as PromiseRejectedResult).reason).toMatchObject({
        message: expect.stringContaining("the GPU refused the commands of a call: ") as string,
      });
      expect(Array.from(out)).toEqual([-1, -1, -1]);
      await device.queue.onSubmittedWorkDone();
      expect(uncaptured).toEqual([]);
      expect(backend.state.bytes.inUse).toBe(0);
    });

    test("are those with a buffer of another device", async () => {
      const { backend, uncaptured } = await start();
      const other = await start();
      expect(await failure(runToy(backend, buffer(other.device, [1, 2, 3])))).toBeInstanceOf(Error);
      expect(uncaptured).toEqual([]);
      expect(backend.state.bytes.inUse).toBe(0);
    });

    test("do not compile: the call rejects with the line", async () => {
      const { backend, uncaptured } = await start();
      const error = await failure(runToy(backend, x(), { program: toyProgram("broken", "fn main() {\n  let y = ;\n}") }));
      expect(error).toBeInstanceOf(BackendError);
      expect(error.message).toBe(`WGSL program "broken":2:11 missing initializer for 'let' declaration\n  let y = ;\n          ^`);
      expect(backend.state.bytes.inUse).toBe(0);
      expect(uncaptured).toEqual([]);
    });
  });

  describe("a signal", () => {
    test("that is aborted already stops a call before it reads or uploads", async () => {
      const { backend, submissions } = await start();
      const reason = new Error("enough");
      expect(await failure(runToy(backend, x(), {}, AbortSignal.abort(reason)))).toBe(reason);
      expect(await failure(upload(backend, { data: x(), shape: [3], dtype: "f32" }, AbortSignal.abort(reason)))).toBe(reason);
      expect(backend.state.bytes.created).toBe(0);
      expect(submissions()).toBe(0);
    });

    test("stops a call that waits for the compiler before it is submitted", async () => {
      const { backend, submissions } = await start();
      const controller = new AbortController();
      const out = Float32Array.of(-1, -1, -1);
      const call = runToy(backend, x(), { out }, controller.signal);
      const next = runToy(backend, x());
      controller.abort();
      expect(await failure(call)).toBe(controller.signal.reason);
      expect(await next).toEqual({ data: Float32Array.of(2, 4, 6), shape: [3], dtype: "f32" });
      expect(submissions()).toBe(1);
      expect(Array.from(out)).toEqual([-1, -1, -1]);
      expect(backend.state.bytes.inUse).toBe(0);
    });

    test("stops a call whose result is on its way back, and gives its memory back", async () => {
      const { backend, submissions } = await start();
      await runToy(backend, x());
      const controller = new AbortController();
      const out = Float32Array.of(-1, -1, -1);
      const call = runToy(backend, x(), { out }, controller.signal);
      expect(submissions()).toBe(2);
      controller.abort("changed my mind");
      const [settled] = await settle([call]);
      expect(settled).toEqual({ status: "rejected", reason: "changed my mind" });
      expect(Array.from(out)).toEqual([-1, -1, -1]);
      expect(backend.state.bytes.inUse).toBe(0);
      expect(await runToy(backend, x())).toEqual({ data: Float32Array.of(2, 4, 6), shape: [3], dtype: "f32" });
    });

    test("leaves uploads of a call given up to nobody else's buffer", async () => {
      const { backend } = await start();
      const controller = new AbortController();
      const [length, given] = [CHECKED_BYTES / 4, 7];
      // Waits for the check of its buffers, and is given up before.
      const call = failure(runToy(backend, new Float32Array(length).fill(99), {}, controller.signal));
      controller.abort();
      const y = await runToy(backend, new Float32Array(length).fill(given));
      expect((y as { data: Float32Array }).data.every((number) => number === 2 * given)).toBe(true);
      expect(await call).toBe(controller.signal.reason);
      expect(backend.state.bytes.inUse).toBe(0);
    });

    test("leaves them to nobody else's buffer when the compiler is done later, either", async () => {
      const { backend, device } = await start();
      const compile = device.createComputePipelineAsync.bind(device);
      let finish: () => void = () => undefined;
      device.createComputePipelineAsync = async (descriptor) => {
        await new Promise<void>((resolve) => (finish = resolve));
        return compile(descriptor);
      };
      const controller = new AbortController();
      const length = CHECKED_BYTES / 4;
      const call = failure(runToy(backend, new Float32Array(length).fill(99), {}, controller.signal));
      // By now its buffers are known to have memory, and only the compiler is waited for.
      await new Promise((resolve) => setTimeout(resolve, 50));
      controller.abort();
      await call;
      expect(backend.state.bytes.pooled).toBeGreaterThanOrEqual(CHECKED_BYTES);
      const tensor = await upload(backend, { data: new Float32Array(length).fill(7), shape: [length], dtype: "f32" });
      finish();
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await numbersOf(backend, tensor as GpuTensor<"f32">)).every((number) => number === 7)).toBe(true);
    });

    test("leaves no memory behind when there was none", async () => {
      const { backend, device } = await start();
      starve(device, 100);
      const controller = new AbortController();
      const call = failure(runToy(backend, new Float32Array(CHECKED_BYTES), {}, controller.signal));
      controller.abort();
      await call;
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(backend.state.bytes).toMatchObject({ inUse: 0, created: 3 + 1 });
    });

    test("keeps no listener of a call that is done", async () => {
      const { backend } = await start();
      const { signal } = new AbortController();
      let listeners = 0;
      const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
      signal.addEventListener = (...args: Parameters<typeof add>): void => {
        listeners++;
        add(...args);
      };
      signal.removeEventListener = (...args: Parameters<typeof remove>): void => {
        listeners--;
        remove(...args);
      };
      await runToy(backend, x(), {}, signal);
      await runToy(backend, x(), { program: toyProgram("broken", "fn") }, signal).catch(() => undefined);
      expect(listeners).toBe(0);
    });
  });

  describe("disposing of a backend", () => {
    const toy = new URL("toy.ts", import.meta.url).href;

    /** What a program prints, in a process of its own that can collect garbage. */
    async function inNode(code: string): Promise<string> {
      const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", "--input-type=module", "--eval", code], {
        cwd: import.meta.dirname,
        timeout: 30_000,
      });
      return stdout.trim();
    }

    test("rejects what is under way and leaves a given device as it is", async () => {
      const { backend, device } = await start();
      const resident = await upload(backend, { data: x(), shape: [3], dtype: "f32" });
      const calls = [runToy(backend, resident), runToy(backend, x())];
      backend.dispose();
      backend.dispose();
      for (const call of await settle(calls)) expect((call as PromiseRejectedResult).reason).toBeInstanceOf(DisposedError);
      expect(await failure(runToy(backend, x()))).toBeInstanceOf(DisposedError);
      expect(() => backend.empty([1])).toThrow(DisposedError);
      expect(backend.state.bytes).toMatchObject({ inUse: 0, pooled: 0 });
      const again: Gpu = await openOn(device);
      expect(await numbersOf(again, await runToy(again, buffer(device, [1, 2])))).toEqual([2, 4]);
      again.dispose();
    });

    test("destroys a device of its own", async () => {
      const made: GPUDevice[] = [];
      const backend = await openOn({
        async requestAdapter() {
          const adapter = await gpu.requestAdapter();
          if (adapter === null) return null;
          const request = adapter.requestDevice.bind(adapter);
          adapter.requestDevice = async (descriptor) => {
            const device = await request(descriptor);
            made.push(device);
            return device;
          };
          return adapter;
        },
      } as GPU);
      backend.dispose();
      expect((await made[0]?.lost)?.reason).toBe("destroyed");
    });

    test("leaves nothing of it to be kept by a given device", async () => {
      const code = `
        import { create } from "webgpu";
        import { openOn, runToy } from ${JSON.stringify(toy)};
        const gpu = create([]);
        const adapter = await gpu.requestAdapter();
        const device = await adapter.requestDevice();
        const use = async () => {
          const backend = await openOn(device);
          await runToy(backend, Float32Array.of(1, 2));
          backend.dispose();
          return new WeakRef(backend);
        };
        const backend = await use();
        // Looking at it would keep it.
        for (let i = 0; i < 10; i++) { await new Promise((resolve) => setTimeout(resolve, 5)); gc(); }
        console.log(backend.deref() === undefined ? "collected" : "kept");
        device.destroy();
        globalThis.kept = [gpu, adapter];
      `;
      expect(await inNode(code)).toBe("collected");
    });

    test("lets the process end, and a call that is awaited keeps it until then", async () => {
      const code = `
        import { create } from "webgpu";
        import { openOn, runToy } from ${JSON.stringify(toy)};
        // Nothing here keeps what the device came from.
        const backend = await openOn(create([]));
        for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 5)); }
        runToy(backend, Float32Array.of(1, 2)).then(({ data }) => {
          console.log(data.join());
          backend.dispose();
          runToy(backend, Float32Array.of(1)).catch((error) => console.log(error.name));
        });
      `;
      expect(await inNode(code)).toBe("2,4\nDisposedError");
    });
  });
}
