import { create, globals } from "webgpu";
import type { RowCall } from "../../src/calls/row-call.ts";
import { BufferPool, NUMBERS, READBACK } from "../../src/backend/webgpu/device/buffers.ts";
import { PipelineCache } from "../../src/backend/webgpu/device/pipelines.ts";
import { Recorder } from "../../src/backend/webgpu/recorder/recorder.ts";
import { recordRows } from "../../src/backend/webgpu/plans/rows.ts";
import { type DeviceTraits, traitsOf } from "../../src/backend/webgpu/device/traits.ts";
import { ArrayHandle, BYTES, type DType } from "../../src/tensor/array.ts";
import { parseLogSoftmax } from "../../src/ops/log-softmax.ts";
import { parseLogSumExp } from "../../src/ops/log-sum-exp.ts";
import { parseSoftmax } from "../../src/ops/softmax.ts";
import { countOf } from "../reference/indices.ts";

Object.assign(globalThis, globals);

// Devices do not survive the collection of the object that they come from.
const gpu = create([]);

export const PARSERS = { softmax: parseSoftmax, logSoftmax: parseLogSoftmax, logSumExp: parseLogSumExp } as const;

/** Runs row operations on the first adapter that Dawn finds, through the recorder alone. */
export class RowDevice {
  readonly device: GPUDevice;
  readonly traits: DeviceTraits;
  readonly #pool: BufferPool;
  readonly #pipelines: PipelineCache;
  readonly #errors: string[] = [];

  constructor(device: GPUDevice) {
    this.device = device;
    this.traits = traitsOf(device);
    this.#pool = new BufferPool(device);
    this.#pipelines = new PipelineCache(device);
    device.addEventListener("uncapturederror", (event) => this.#errors.push(event.error.message));
  }

  /** Pipelines made so far. */
  get compiled(): number {
    return this.#pipelines.compiled;
  }

  /** What the GPU makes of a call. `traits` replaces some of the device's, `place` moves the result in its buffer (bytes). */
  async run(call: RowCall, traits: Partial<DeviceTraits> = {}, place = 0): Promise<Float32Array> {
    const count = countOf(call.results.out.shape);
    const guard = 64;
    const bytes = place + 4 * (count + guard);
    const buffer = this.#pool.acquire(bytes, NUMBERS);
    const readback = this.#pool.acquire(bytes, READBACK);
    const sentinels = new Float32Array(bytes / 4).fill(-12345.5);
    this.device.queue.writeBuffer(buffer, 0, sentinels);
    const recorder = new Recorder(this.device, this.#pool, { ...this.traits, ...traits });
    recordRows(recorder, call, { out: { buffer, byteOffset: place, byteLength: 4 * count } });
    for (const program of recorder.programs) await this.#pipelines.compile(program);
    const encoder = this.device.createCommandEncoder();
    await Promise.all(recorder.encode(encoder, this.#pipelines));
    encoder.copyBufferToBuffer(buffer, 0, readback, 0, bytes);
    this.device.queue.submit([encoder.finish()]);
    recorder.release();
    await readback.mapAsync(GPUMapMode.READ, 0, bytes);
    const all = new Float32Array(readback.getMappedRange(0, bytes).slice(0));
    readback.unmap();
    this.#pool.release(buffer);
    this.#pool.release(readback);
    if (this.#errors.length > 0) throw new Error(this.#errors.join("\n"));
    const around = [...all.subarray(0, place / 4), ...all.subarray(place / 4 + count)];
    if (!around.every((v) => v === -12345.5)) throw new Error("the shader wrote outside of the result");
    return all.slice(place / 4, place / 4 + count);
  }

  /** Numbers in a buffer of the GPU, `offset` bytes from its start. */
  upload(data: Float32Array | Uint16Array | Uint8Array, dtype: DType, offset = 0): ArrayHandle {
    const bytes = new Uint8Array(Math.ceil((offset + data.byteLength) / 4) * 4);
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    const buffer = this.device.createBuffer({ size: bytes.byteLength, usage: NUMBERS });
    this.device.queue.writeBuffer(buffer, 0, bytes);
    return ArrayHandle.onGpu(buffer, dtype, offset, data.byteLength / BYTES[dtype]);
  }
}

/** The 16 bits of a number whose digits f16 holds, ±∞ included. */
export function toHalf(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] ?? 0;
  const sign = (bits >>> 16) & 0x8000;
  if (!Number.isFinite(value)) return sign | 0x7c00;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  return exponent <= 0 ? sign : sign | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

/** The number behind 16 bits; no denormals or NaN. */
export function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  if (exponent === 31) return sign * Infinity;
  return exponent === 0 ? sign * 0 : sign * 2 ** (exponent - 15) * (1 + (half & 0x3ff) / 1024);
}

/** A device, or the reason why there is none. `subgroups` is left off on request. */
export async function requestRowDevice(subgroups: boolean): Promise<RowDevice | string> {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) return "no WebGPU adapter: Dawn finds no Vulkan driver";
  if (subgroups && !adapter.features.has("subgroups")) return "the adapter has no subgroups";
  const requiredFeatures: GPUFeatureName[] = subgroups ? ["subgroups"] : [];
  return new RowDevice(await adapter.requestDevice({ requiredFeatures }));
}
