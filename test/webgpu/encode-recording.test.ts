import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/backend/webgpu/recorder/gpu.ts";
import type { Recording } from "../../src/backend/webgpu/recorder/recording.ts";
import { ResidentTensor } from "../../src/backend/webgpu/device/resident-tensor.ts";
import { BackendError, DisposedError } from "../../src/errors/errors.ts";
import { unavailable } from "../support/variants.ts";
import { type Operand, type ToyOptions, numbersOf, openForSuite, openOn, recordJob, runToy, someGpu, toyJob, toyProgram, upload } from "./toy.ts";

const gpu = await someGpu();
if (typeof gpu === "string") test("calls in an encoder of the caller's", ({ skip }) => unavailable(skip, gpu));
else suite(gpu);

function suite(gpu: GPU): void {
  describe("calls in an encoder of the caller's", () => {
    let device: GPUDevice;
    let backend: Gpu;

    openForSuite(gpu, (opened) => ({ backend, device } = opened));

    function record(recording: Recording, x: Operand, options?: ToyOptions): ResidentTensor<"f32"> {
      const [y] = recordJob(recording, toyJob(x, options));
      if (!(y instanceof ResidentTensor)) throw new Error("what is recorded has results on the GPU");
      return y as ResidentTensor<"f32">;
    }

    test("have results on the GPU at once, which the next call may read", async () => {
      const x = await upload(backend, { data: Float32Array.of(1, 2, 3), shape: [3], dtype: "f32" });
      const encoder = device.createCommandEncoder();
      const recording = backend.encode(encoder);
      const y = record(recording, x, { program: toyProgram("not compiled before") });
      const z = record(recording, y, { factor: 10, bias: Float32Array.of(1, 1, 1) });
      device.queue.submit([encoder.finish()]);
      expect(await numbersOf(backend, z)).toEqual([21, 41, 61]);
      await expect(recording.check()).resolves.toBeUndefined();
    });

    test("compute when the caller submits, not before", async () => {
      const x = await upload(backend, { data: Float32Array.of(1, 2, 3), shape: [3], dtype: "f32" });
      const y = await upload(backend, { data: Float32Array.of(-1, -1, -1), shape: [3], dtype: "f32" });
      const encoder = device.createCommandEncoder();
      const recording = backend.encode(encoder);
      expect(recordJob(recording, toyJob(x as ResidentTensor<"f32">, { out: y }))).toEqual([y]);
      expect(await numbersOf(backend, y as ResidentTensor<"f32">)).toEqual([-1, -1, -1]);
      device.queue.submit([encoder.finish()]);
      expect(await numbersOf(backend, y as ResidentTensor<"f32">)).toEqual([2, 4, 6]);
      recording.dispose();
    });

    test("stand among the caller's own commands", async () => {
      const x = await upload(backend, { data: Float32Array.of(1, 2, 3), shape: [3], dtype: "f32" });
      const copy = device.createBuffer({ size: 256, usage: 0x80 | 0x4 | 0x8 });
      const encoder = device.createCommandEncoder();
      const recording = backend.encode(encoder);
      const y = record(recording, x);
      encoder.copyBufferToBuffer(y.buffer as GPUBuffer, 0, copy, 0, 12);
      encoder.clearBuffer(y.buffer as GPUBuffer, 0, 12);
      device.queue.submit([encoder.finish()]);
      expect(await numbersOf(backend, { buffer: copy, shape: [3], dtype: "f32" })).toEqual([2, 4, 6]);
      expect(await numbersOf(backend, y)).toEqual([0, 0, 0]);
    });

    test("keep what they need until the recording is disposed of, whatever else runs meanwhile", async () => {
      const x = await upload(backend, { data: Float32Array.of(1, 2, 3), shape: [3], dtype: "f32" });
      const before = backend.state.bytes.inUse;
      const encoder = device.createCommandEncoder();
      const recording = backend.encode(encoder);
      const y = record(recording, x, { bias: Float32Array.of(5, 5, 5) });
      const z = record(recording, y);
      // Neither the tensor in between nor anything uploaded is free to be overwritten by these.
      y.dispose();
      for (let i = 0; i < 20; i++) await runToy(backend, Float32Array.of(9, 9, 9), { bias: Float32Array.of(8, 8, 8) });
      device.queue.submit([encoder.finish()]);
      recording.dispose();
      recording.dispose();
      expect(await numbersOf(backend, z)).toEqual([14, 18, 22]);
      z.dispose();
      expect(backend.state.bytes.inUse).toBe(before);
    });

    test("read large arrays when they are recorded", async () => {
      const x = new Float32Array(2 ** 19).fill(3);
      const encoder = device.createCommandEncoder();
      const recording = backend.encode(encoder);
      const y = record(recording, x);
      x.fill(99);
      device.queue.submit([encoder.finish()]);
      expect((await numbersOf(backend, y)).every((number) => number === 6)).toBe(true);
      recording.dispose();
    });

    test("write where the operand is", async () => {
      const x = await upload(backend, { data: Float32Array.of(1, 2, 3), shape: [3], dtype: "f32" });
      const encoder = device.createCommandEncoder();
      const recording = backend.encode(encoder);
      for (let i = 0; i < 3; i++) recordJob(recording, toyJob(x, { out: x }));
      device.queue.submit([encoder.finish()]);
      expect(await numbersOf(backend, x as ResidentTensor<"f32">)).toEqual([8, 16, 24]);
      recording.dispose();
    });

    test("cannot go into an array", () => {
      const recording = backend.encode(device.createCommandEncoder());
      const job = toyJob(Float32Array.of(1), { out: new Float32Array(1) });
      expect(() => recordJob(recording, job)).toThrow(new TypeError('"out" expected a tensor on the GPU, since what is recorded is not read back'));
      recording.dispose();
    });

    test("that do not compile are told by check()", async () => {
      const recording = backend.encode(device.createCommandEncoder());
      device.pushErrorScope("validation");
      record(recording, Float32Array.of(1), { program: toyProgram("broken in an encoder", "fn main( {") }).dispose();
      await device.popErrorScope();
      await expect(recording.check()).rejects.toThrow(BackendError);
      await expect(recording.check()).rejects.toThrow(/^WGSL program "broken in an encoder":1:10 /);
      recording.dispose();
    });

    test("fail when the backend has ended", async () => {
      const other = await openOn(device);
      const recording = other.encode(device.createCommandEncoder());
      other.dispose();
      expect(() => recordJob(recording, toyJob(Float32Array.of(1)))).toThrow(DisposedError);
      expect(() => other.encode(device.createCommandEncoder())).toThrow(DisposedError);
    });
  });
}
