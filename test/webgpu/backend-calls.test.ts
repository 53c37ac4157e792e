import { describe, expect, onTestFinished, test, vi } from "vitest";
import { READBACK } from "../../src/backend/webgpu/device/buffers.ts";
import { findDevice } from "../../src/backend/webgpu/device/device.ts";
import { Gpu } from "../../src/backend/webgpu/recorder/gpu.ts";
import { ResidentTensor } from "../../src/backend/webgpu/device/resident-tensor.ts";
import type { Recorder } from "../../src/backend/webgpu/recorder/recorder.ts";
import { BackendError, DisposedError, UnsupportedError } from "../../src/errors/errors.ts";
import { ArrayHandle } from "../../src/tensor/array.ts";
import { type GpuTensor, deviceView } from "../../src/tensor/tensor.ts";
import { unavailable } from "../support/variants.ts";
import { type Job, TOY_UNIFORMS, execute, numbersOf, openForSuite, openOn, runToy, someGpu, toyJob, toyProgram, upload } from "./toy.ts";

const gpu = await someGpu();

if (typeof gpu === "string") test("calls on a GPU", ({ skip }) => unavailable(skip, gpu));
else suite(gpu);

function suite(gpu: GPU): void {
  let backend: Gpu;
  let device: GPUDevice;

  openForSuite(gpu, (opened) => ({ backend, device } = opened));

  const STORAGE_ALL = 0x80 | 0x4 | 0x8;

  /** Numbers in a buffer of the caller's, at an offset. */
  function foreign(numbers: readonly number[], offset = 0): GpuTensor<"f32"> {
    const buffer = device.createBuffer({ size: offset + numbers.length * 4, usage: STORAGE_ALL });
    device.queue.writeBuffer(buffer, offset, new Float32Array(numbers));
    return { buffer, shape: [numbers.length], dtype: "f32", offset };
  }

  describe("results", () => {
    test("are arrays where the operands are", async () => {
      expect(await runToy(backend, Float32Array.of(1, 2, 3))).toEqual({ data: Float32Array.of(2, 4, 6), shape: [3], dtype: "f32" });
    });

    test("are on the GPU where the first operand is, wherever the others are", async () => {
      const x = foreign([1, 2, 3]);
      const y = await runToy(backend, x, { bias: Float32Array.of(10, 20, 30) });
      expect(y).toBeInstanceOf(ResidentTensor);
      expect(await numbersOf(backend, y)).toEqual([12, 24, 36]);
      const host = await runToy(backend, Float32Array.of(1, 2, 3), { bias: x });
      expect(host).toEqual({ data: Float32Array.of(3, 6, 9), shape: [3], dtype: "f32" });
    });

    test("go into the caller's array, also with strides, and leave the rest of it alone", async () => {
      const out = new Float32Array(3);
      expect(await runToy(backend, Float32Array.of(1, 2, 3), { out })).toEqual({ data: out, shape: [3], dtype: "f32" });
      expect(out).toEqual(Float32Array.of(2, 4, 6));
      const strided = { data: new Float32Array(13).fill(-1), shape: [2, 3], dtype: "f32" as const, strides: [7, 2] };
      expect(await runToy(backend, Float32Array.of(1, 2, 3, 4, 5, 6), { shape: [2, 3], out: strided })).toBe(strided);
      expect(Array.from(strided.data)).toEqual([2, -1, 4, -1, 6, -1, -1, 8, -1, 10, -1, 12, -1]);
    });

    test("go into the caller's buffer, at its offset, with operands of either place", async () => {
      const x = foreign([1, 2, 3], 260);
      const out = foreign([0, 0, 0, 0, 0], 512);
      const part = { ...out, shape: [3], offset: 516 };
      expect(await runToy(backend, x, { out: part })).toBe(part);
      expect(await numbersOf(backend, out)).toEqual([0, 2, 4, 6, 0]);
      expect(await runToy(backend, Float32Array.of(7, 8, 9), { out: part })).toBe(part);
      expect(await numbersOf(backend, out)).toEqual([0, 14, 16, 18, 0]);
    });

    test("may replace the operand, or lie beside it in the same buffer", async () => {
      const x = foreign([1, 2, 3, 0, 0, 0]);
      const first = { ...x, shape: [3] };
      await runToy(backend, first, { out: { ...x, shape: [3], offset: 12 } });
      expect(await numbersOf(backend, x)).toEqual([1, 2, 3, 2, 4, 6]);
      await runToy(backend, first, { out: first });
      expect(await numbersOf(backend, x)).toEqual([2, 4, 6, 2, 4, 6]);
      await runToy(backend, Float32Array.of(1, 1, 1), { bias: first, out: first, factor: 100 });
      expect(await numbersOf(backend, x)).toEqual([102, 104, 106, 2, 4, 6]);
    });

    test("that one buffer cannot hold for the CPU land in several, and go into the caller's array all the same", async () => {
      const found = await findDevice(device);
      if ("reason" in found) throw new Error(found.reason);
      for (const [bufferBytes, landings] of [
        [32, 1],
        [16, 2],
      ] as const) {
        const own = new Gpu({ ...found, traits: { ...found.traits, bufferBytes } });
        const job = toyJob(Float32Array.of(1, 2, 3));
        const out = new Float32Array(3);
        const { results } = toyJob(out, { out });
        const twice: Job = {
          operands: job.operands,
          results: [...results, { shape: [3] }, { shape: [0] }],
          record(recorder, [y, z]) {
            if (y !== undefined) job.record(recorder, [y]);
            if (z !== undefined) job.record(recorder, [z]);
          },
        };
        const made: number[] = [];
        const create = device.createBuffer.bind(device);
        device.createBuffer = (descriptor) => {
          made.push(descriptor.usage);
          return create(descriptor);
        };
        const [first, second, third] = await execute(own, twice).finally(() => (device.createBuffer = create));
        expect(made.filter((usage) => usage === READBACK)).toHaveLength(landings);
        expect(first).toEqual({ data: out, shape: [3], dtype: "f32" });
        expect(Array.from(out)).toEqual([2, 4, 6]);
        expect(second).toEqual({ data: Float32Array.of(2, 4, 6), shape: [3], dtype: "f32" });
        expect(third).toEqual({ data: new Float32Array(0), shape: [0], dtype: "f32" });
        expect(own.state.bytes.inUse).toBe(0);
        own.dispose();
      }
    });

    test("in place need a buffer that can be copied to; elsewhere it need not be", async () => {
      const buffer = device.createBuffer({ size: 12, usage: 0x80, mappedAtCreation: true });
      new Float32Array(buffer.getMappedRange()).set([1, 2, 3]);
      buffer.unmap();
      const x = { buffer, shape: [3], dtype: "f32" } as const;
      await expect(runToy(backend, x, { out: x })).rejects.toThrow(
        new RangeError("a tensor's GPU buffer expected usage COPY_DST, which lets a result take the place of an operand"),
      );
      expect(await runToy(backend, Float32Array.of(4, 5, 6), { out: x })).toBe(x);
      expect(await numbersOf(backend, await runToy(backend, x))).toEqual([16, 20, 24]);
    });

    test("of no elements are empty, on either side", async () => {
      expect(await runToy(backend, new Float32Array(0))).toEqual({ data: new Float32Array(0), shape: [0], dtype: "f32" });
      const y = await runToy(backend, { ...foreign([1]), shape: [0] });
      expect(await numbersOf(backend, y)).toEqual([]);
    });
  });

  describe("operands", () => {
    test("in arrays are read before the promise is there", async () => {
      const x = Float32Array.of(1, 2, 3);
      // A program of its own: the call waits for the compiler.
      const pending = runToy(backend, x, { program: toyProgram("operands, read first") });
      x.fill(99);
      expect(await pending).toEqual({ data: Float32Array.of(2, 4, 6), shape: [3], dtype: "f32" });
    });

    test("of large arrays as well, whose buffers are checked for memory first", async () => {
      const x = new Float32Array(2 ** 19).fill(3);
      const pending = runToy(backend, x, { shape: [2 ** 19] });
      x.fill(99);
      const { data } = (await pending) as { data: Float32Array };
      expect(data.every((y) => y === 6)).toBe(true);
    });

    test("of large arrays are not copied where there is no other buffer to be had", async () => {
      const own = await openOn(device);
      const slice = vi.spyOn(Uint8Array.prototype, "slice");
      try {
        const x = await upload(own, { data: new Float32Array(2 ** 19).fill(3), shape: [2 ** 19], dtype: "f32" });
        expect(slice).not.toHaveBeenCalled();
        expect((await numbersOf(own, x as ResidentTensor<"f32">)).every((number) => number === 3)).toBe(true);
      } finally {
        slice.mockRestore();
        own.dispose();
      }
    });

    test("that are disposed of while the call waits keep their numbers", async () => {
      const x = await upload(backend, { data: Float32Array.of(1, 2, 3), shape: [3], dtype: "f32" });
      const pending = runToy(backend, x, { program: toyProgram("operands, disposed of") });
      x.dispose();
      // Takes the next free buffers of that size, and writes to them.
      await runToy(backend, Float32Array.of(50, 60, 70));
      expect(await numbersOf(backend, await pending)).toEqual([2, 4, 6]);
    });

    test("that are downloaded keep theirs, too", async () => {
      const x = await upload(backend, { data: Float32Array.of(1, 2, 3), shape: [3], dtype: "f32" });
      const before = runToy(backend, Float32Array.of(0), { program: toyProgram("operands, downloaded") });
      const pending = backend.download(deviceView("x", x));
      x.dispose();
      for (let i = 0; i < 3; i++) await upload(backend, { data: Float32Array.of(7, 8, 9), shape: [3], dtype: "f32" });
      expect((await pending).data).toEqual(Float32Array.of(1, 2, 3));
      await before;
    });

    test("without elements may lie in empty buffers, or at their end", async () => {
      const empty = device.createBuffer({ size: 0, usage: STORAGE_ALL });
      const full = foreign([1, 2, 3]);
      // What is there is not read; the program may be bound to it.
      const job = (data: ArrayHandle): Job => {
        const { record } = toyJob(Float32Array.of(1, 2, 3));
        return {
          operands: [data],
          results: [{ shape: [3], out: toyJob(full, { out: new Float32Array(3) }).results[0]?.out }],
          record(recorder, results) {
            const nothing = recorder.input(data);
            expect(nothing.byteLength).toBe(0);
            record(recorder, results);
            recorder.run(toyProgram(), new ArrayBuffer(32), [nothing, nothing, recorder.scratch(4)], [1, 1, 1]);
          },
        };
      };
      for (const { buffer, offset } of [
        { buffer: empty, offset: 0 },
        { buffer: full.buffer, offset: 12 },
      ]) {
        const [y] = await execute(backend, job(ArrayHandle.onGpu(buffer, "f32", offset, 0)));
        expect(Array.from((y as { data: Float32Array }).data)).toEqual([2, 4, 6]);
        expect((await backend.download(deviceView("x", { buffer, offset, shape: [0], dtype: "f32" }))).data).toEqual(new Float32Array(0));
      }
    });

    test("in shared memory are read like any", async () => {
      const x = new Float32Array(new SharedArrayBuffer(12));
      x.set([1, 2, 3]);
      expect(await runToy(backend, x)).toEqual({ data: Float32Array.of(2, 4, 6), shape: [3], dtype: "f32" });
    });

    test("named twice are uploaded once", async () => {
      const x = Float32Array.of(1, 2, 3);
      await runToy(backend, x, { bias: x });
      const before = backend.state.bytes.created;
      const writes: number[] = [];
      const original = device.queue.writeBuffer.bind(device.queue);
      device.queue.writeBuffer = (buffer: GPUBuffer, offset: number, data: BufferSource, ...rest: number[]) => {
        writes.push(buffer.usage);
        original(buffer, offset, data, ...rest);
      };
      try {
        expect(await runToy(backend, x, { bias: x })).toEqual({ data: Float32Array.of(3, 6, 9), shape: [3], dtype: "f32" });
      } finally {
        device.queue.writeBuffer = original;
      }
      expect(writes.filter((usage) => (usage & 0x80) !== 0)).toHaveLength(1);
      expect(backend.state.bytes.created).toBe(before);
    });

    test("of f64 are refused", () => {
      const job = { ...toyJob(Float32Array.of(1)), record: (recorder: Recorder) => void recorder.input(ArrayHandle.of(new Float64Array(1), "f64")) };
      expect(() => execute(backend, job)).toThrow(UnsupportedError);
    });

    test("without the usage that shaders need are refused with that reason", async () => {
      const buffer = device.createBuffer({ size: 16, usage: 0x8 });
      await expect(runToy(backend, { buffer, shape: [4], dtype: "f32" })).rejects.toThrow(
        new RangeError("a tensor's GPU buffer expected usage STORAGE, which lets shaders read it"),
      );
      await expect(backend.download(deviceView("x", { buffer, shape: [4], dtype: "f32" }))).rejects.toThrow(
        new RangeError("a tensor's GPU buffer expected usage COPY_SRC, which lets it be read back"),
      );
    });
  });

  describe("order", () => {
    test("is that of the calls, whatever the compiler takes", async () => {
      await runToy(backend, Float32Array.of(0));
      const original = device.createComputePipelineAsync.bind(device);
      device.createComputePipelineAsync = async (descriptor) => {
        if (descriptor.label?.startsWith("slow") === true) await new Promise((resolve) => setTimeout(resolve, descriptor.label === "slow 1" ? 100 : 30));
        return original(descriptor);
      };
      try {
        const x = foreign([1, 1, 1]);
        const settled: string[] = [];
        // Each multiplies what the one before has left: 1 → 2 → 6 → 24 → 120, and by 10 in between.
        const calls = [
          runToy(backend, x, { out: x, factor: 2, program: toyProgram("slow 1") }).then(() => settled.push("slow 1")),
          runToy(backend, x, { out: x, factor: 3, bias: Float32Array.of(1, 2, 3), program: toyProgram("slow 2") }).then(() => settled.push("slow 2")),
          runToy(backend, x, { out: x, factor: 10 }).then(() => settled.push("ready")),
          backend.download(deviceView("x", x)),
          runToy(backend, x, { out: x, factor: 0 }).then(() => settled.push("last")),
        ];
        const [, , , downloaded] = await Promise.all(calls);
        expect(Array.from((downloaded as { data: Float32Array }).data)).toEqual([70, 80, 90]);
        expect(settled).toEqual(["slow 1", "slow 2", "ready", "last"]);
        expect(await numbersOf(backend, x)).toEqual([0, 0, 0]);
      } finally {
        device.createComputePipelineAsync = original;
      }
    });

    test("is kept when a call in between fails to compile", async () => {
      const x = foreign([1, 1, 1]);
      const calls = [
        runToy(backend, x, { out: x, factor: 2, program: toyProgram("order, before") }),
        runToy(backend, x, { out: x, factor: 3, program: toyProgram("order, broken", "fn main( {") }),
        runToy(backend, x, { out: x, factor: 5 }),
      ];
      const settled = await Promise.allSettled(calls);
      expect(settled.map((call) => call.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect(await numbersOf(backend, x)).toEqual([10, 10, 10]);
    });

    test("lets a call submit before it returns when nothing has to be waited for", async () => {
      await runToy(backend, Float32Array.of(0));
      const x = foreign([1, 2, 3]);
      const pending = runToy(backend, x);
      // Queued behind the call, so the call does not see it.
      device.queue.writeBuffer(x.buffer as GPUBuffer, 0, Float32Array.of(9, 9, 9));
      expect(await numbersOf(backend, await pending)).toEqual([2, 4, 6]);
    });
  });

  describe("a call that computes a lot", () => {
    /** A backend whose submissions are counted, and a call of five of them: y += 1, each time. */
    async function start() {
      const found = await findDevice(device);
      if ("reason" in found) throw new Error(found.reason);
      const own = new Gpu({ ...found, traits: { ...found.traits, submissionFlops: 10 } });
      await runToy(own, Float32Array.of(0));
      const submissions: string[] = [];
      const submit = device.queue.submit.bind(device.queue);
      let watching: ((count: number) => void) | undefined;
      device.queue.submit = (commands) => {
        submissions.push(own.state.bytes.inUse > 0 ? "long" : "short");
        submit(commands);
        watching?.(submissions.length);
      };
      onTestFinished(() => {
        device.queue.submit = submit;
        own.dispose();
      });
      const long = (x: Float32Array, out?: unknown): Job => {
        const job = toyJob(x, { out });
        return {
          ...job,
          record(recorder, [y]) {
            if (y === undefined) return;
            const one = recorder.input(ArrayHandle.of(Float32Array.of(1), "f32"));
            const places = [recorder.input(ArrayHandle.of(x, "f32")), recorder.scratch(4), recorder.scratch(4)];
            for (let i = 0; i < 5; i++) {
              const [from = y, to = y] = [places[i === 0 ? 0 : 1 + ((i - 1) % 2)], i === 4 ? y : places[1 + (i % 2)]];
              const uniforms = TOY_UNIFORMS.pack({ count: 1, xBase: recorder.baseOf(from, 4), biasBase: 0, yBase: recorder.baseOf(to, 4), factor: 1 });
              recorder.run(toyProgram(), uniforms, [from, one, to], [1, 1, 1], 6);
            }
          },
        };
      };
      return { own, submissions, long, watch: (watch: (count: number) => void) => (watching = watch) };
    }

    test("is submitted in parts", async () => {
      const { own, submissions, long } = await start();
      const [y] = await execute(own, long(Float32Array.of(3)));
      expect(y).toEqual({ data: Float32Array.of(8), shape: [1], dtype: "f32" });
      expect(submissions).toHaveLength(5);
      expect(own.state.bytes.inUse).toBe(0);
    });

    test("is cut into fewer next time where the GPU is quick, and as before where it is not", async () => {
      const { own, submissions, long } = await start();
      await execute(own, long(Float32Array.of(3)));
      expect(own.traits.submissionFlops).toBe(40);
      submissions.length = 0;
      // Six each.
      expect((await execute(own, long(Float32Array.of(3))))[0]).toMatchObject({ data: Float32Array.of(8) });
      expect(submissions).toHaveLength(1);

      const slow = await start();
      const done = device.queue.onSubmittedWorkDone.bind(device.queue);
      device.queue.onSubmittedWorkDone = async () => {
        await done();
        await new Promise((resolve) => setTimeout(resolve, 120));
      };
      onTestFinished(() => void (device.queue.onSubmittedWorkDone = done));
      await execute(slow.own, slow.long(Float32Array.of(3)));
      expect(slow.own.traits.submissionFlops).toBe(10);
    });

    test("keeps its place in the order of calls", async () => {
      const { own, long } = await start();
      const x = foreign([0]);
      const calls = [execute(own, long(Float32Array.of(3), x)), runToy(own, x, { factor: 10, out: x }), execute(own, long(Float32Array.of(0)))];
      await Promise.all(calls);
      expect(await numbersOf(own, x)).toEqual([80]);
    });

    test("stops between them, and gives back what it held", async () => {
      const { own, submissions, long, watch } = await start();
      const controller = new AbortController();
      watch((count) => count === 2 && controller.abort("enough"));
      await expect(execute(own, long(Float32Array.of(3)), controller.signal)).rejects.toBe("enough");
      expect(submissions).toHaveLength(2);
      expect(own.state.bytes.inUse).toBe(0);
      expect(await runToy(own, Float32Array.of(4))).toEqual({ data: Float32Array.of(8), shape: [1], dtype: "f32" });
    });

    test("does not stop where a buffer of the caller's would be left half written", async () => {
      const { own, submissions, long, watch } = await start();
      const controller = new AbortController();
      watch((count) => count === 2 && controller.abort("enough"));
      const x = foreign([0]);
      await execute(own, long(Float32Array.of(3), x), controller.signal);
      expect(submissions).toHaveLength(5);
      expect(await numbersOf(own, x)).toEqual([8]);
    });

    test.each([1, 3, 4, 5])("fails as a whole when submission %i is refused", async (which) => {
      const { own, long, watch } = await start();
      const pop = device.popErrorScope.bind(device);
      let submitted = 0;
      watch((count) => (submitted = count));
      device.popErrorScope = async () => {
        const refused = submitted === which;
        if (refused) submitted = NaN;
        const error = await pop();
        return refused ? { message: "refused" } : error;
      };
      const out = Float32Array.of(-1);
      await expect(execute(own, long(Float32Array.of(3), out)).finally(() => (device.popErrorScope = pop))).rejects.toThrow(
        new BackendError("the GPU refused the commands of a call: refused"),
      );
      expect(Array.from(out)).toEqual([-1]);
      expect(own.state.bytes.inUse).toBe(0);
    });
  });

  describe("tensors", () => {
    test("go up and come down in every dtype, with lengths that are no multiple of 4 bytes", async () => {
      for (const tensor of [
        { data: Float32Array.of(1, NaN, -Infinity), shape: [3], dtype: "f32" },
        { data: Uint16Array.of(1, 2, 3), shape: [3], dtype: "f16" },
        { data: Uint16Array.of(1), shape: [1, 1], dtype: "f16" },
        { data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7), shape: [7], dtype: "u8" },
        { data: Int8Array.of(-1, 2, -3), shape: [3], dtype: "i8" },
        { data: new Float32Array(0), shape: [0, 3], dtype: "f32" },
      ] as const) {
        const resident = await upload(backend, tensor);
        expect(await backend.download(deviceView("x", resident)), tensor.dtype).toEqual(tensor);
        resident.dispose();
      }
    });

    test("come down from buffers with room for copies, which move four bytes at a time", async () => {
      const buffer = device.createBuffer({ size: 6, usage: 0x4 });
      await expect(backend.download(deviceView("x", { buffer, shape: [6], dtype: "u8" }))).rejects.toThrow(
        new RangeError("a tensor of 6 bytes expected a GPU buffer with room for a multiple of 4 behind 0, got 6"),
      );
      expect((await backend.download(deviceView("x", { buffer, shape: [4], dtype: "u8" }))).data).toEqual(new Uint8Array(4));
    });

    test("may be the bytes of a mask in any array of bytes, also with gaps", async () => {
      for (const [data, dtype] of [
        [Uint8Array.of(1, 2, 3, 4, 5, 6), "u8"],
        [Uint8ClampedArray.of(1, 2, 3, 4, 5, 6), "u8"],
        [Int8Array.of(1, 2, 3, 4, 5, 6), "i8"],
      ] as const) {
        expect(await backend.download(deviceView("x", await upload(backend, data))), dtype).toMatchObject({ shape: [6], dtype, data: { 0: 1, 5: 6 } });
        const turned = await upload(backend, { data, shape: [2, 2], strides: [1, 3] });
        expect(Array.from((await backend.download(deviceView("x", turned))).data), dtype).toEqual([1, 4, 2, 5]);
      }
      expect(() => upload(backend, { data: new Int8Array(3), shape: [4] })).toThrow(RangeError);
    });

    test("that are on the GPU already are refused", async () => {
      await expect(upload(backend, foreign([1, 2], 256))).rejects.toThrow(new TypeError('"x" expected a tensor in the CPU\'s memory, got one in a GPU buffer'));
    });

    test("may come from a Float16Array", async ({ skip }) => {
      const Float16 = (globalThis as unknown as { Float16Array?: new (numbers: number[]) => Uint16Array }).Float16Array;
      if (Float16 === undefined) return skip("this engine has no Float16Array");
      const resident = await upload(backend, { data: new Float16([1, 2, -0.5]), shape: [3], dtype: "f16" });
      expect((await backend.download(deviceView("x", resident))).data).toEqual(Uint16Array.of(0x3c00, 0x4000, 0xb800));
    });

    test("lose their gaps on the way up", async () => {
      const data = Float32Array.from({ length: 12 }, (_, i) => i);
      const resident = await upload(backend, { data, shape: [3, 2], dtype: "f32", strides: [1, 4] });
      expect(await numbersOf(backend, resident as ResidentTensor<"f32">)).toEqual([0, 4, 1, 5, 2, 6]);
    });

    test("are uploaded as they are at the call", async () => {
      for (const length of [3, 2 ** 19 + 1]) {
        const data = new Float32Array(length).fill(5);
        const pending = upload(backend, { data, shape: [length], dtype: "f32" });
        data.fill(6);
        const resident = (await pending) as ResidentTensor<"f32">;
        expect((await numbersOf(backend, resident)).every((number) => number === 5)).toBe(true);
        resident.dispose();
      }
    });

    test("made empty are written by calls", async () => {
      const y = backend.empty([2, 2]);
      expect(await runToy(backend, Float32Array.of(1, 2, 3, 4), { shape: [2, 2], out: y })).toBe(y);
      expect(await numbersOf(backend, y)).toEqual([2, 4, 6, 8]);
    });

    test("cannot be used after they are disposed of; doing that twice is fine", async () => {
      const y = backend.empty([3]);
      const before = backend.state.bytes.inUse;
      y.dispose();
      y.dispose();
      expect(backend.state.bytes.inUse).toBe(before - 256);
      expect(() => y.buffer).toThrow(DisposedError);
      await expect((async () => runToy(backend, y))()).rejects.toThrow(DisposedError);
    });

    test("of a dtype that is not on GPUs are refused", async () => {
      await expect(upload(backend, { data: new Float64Array(3), shape: [3], dtype: "f64" })).rejects.toThrow(UnsupportedError);
      await expect(upload(backend, { data: new Uint16Array(3), shape: [3], dtype: "bf16" })).rejects.toThrow(UnsupportedError);
    });
  });

  describe("memory", () => {
    test("is where it was after 10,000 calls", async () => {
      const x = foreign([1, 2, 3]);
      const mixed = async (): Promise<void> => {
        const y = (await runToy(backend, x, { bias: Float32Array.of(1, 1, 1) })) as ResidentTensor<"f32">;
        y.dispose();
        await runToy(backend, Float32Array.of(1, 2, 3));
      };
      await mixed();
      const before = backend.state;
      for (let i = 0; i < 5_000; i++) await mixed();
      expect(backend.state).toEqual(before);
    });

    test("is used again as soon as a call is submitted, but for what is read back", async () => {
      const own = await openOn(device);
      await runToy(own, Float32Array.of(1, 2, 3));
      const before = own.state.bytes.created;
      await Promise.all([runToy(own, Float32Array.of(1, 2, 3)), runToy(own, Float32Array.of(1, 2, 3))]);
      expect(own.state.bytes.created).toBe(before + 1);
      own.dispose();
    });

    test("in use is where it was after calls at the same time", async () => {
      const before = backend.state.bytes;
      const results = await Promise.all(Array.from({ length: 200 }, (_, i) => runToy(backend, Float32Array.of(i, 1, 2))));
      results.forEach((result, i) => expect((result as { data: Float32Array }).data[0]).toBe(2 * i));
      expect(backend.state.bytes.inUse).toBe(before.inUse);
    });
  });
}
