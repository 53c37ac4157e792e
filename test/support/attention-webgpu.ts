import { create, globals } from "webgpu";
import { type AttentionCall, outputStrides } from "../../src/attention-arguments.ts";
import { parseAttention } from "../../src/attention.ts";
import type { AttentionOptions, Layout } from "../../src/index.ts";
import { BufferPool, READBACK } from "../../src/backend/webgpu/buffers.ts";
import { recordAttention } from "../../src/backend/webgpu/attention.ts";
import { PipelineCache } from "../../src/backend/webgpu/pipelines.ts";
import { Recorder, type Slice } from "../../src/backend/webgpu/recorder.ts";
import { type DeviceTraits, traitsOf } from "../../src/backend/webgpu/traits.ts";
import { elementCount } from "../../src/shape.ts";

// A device with nothing around it: calls are recorded, encoded and read back, so that kernels are tested without an engine.

Object.assign(globalThis, globals);

/** A device, and the adapter that it keeps alive. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly traits: DeviceTraits;
  readonly pool: BufferPool;
  readonly pipelines: PipelineCache;
}

/** A device of Dawn's that validates and computes nothing (`"null"`), or a real one; undefined without a driver. */
export async function openGpu(backend: "null" | "any"): Promise<Gpu | undefined> {
  const gpu = create(backend === "null" ? ["backend=null", "enable-dawn-features=allow_unsafe_apis"] : []);
  const adapter = await gpu.requestAdapter();
  if (adapter === null) return undefined;
  const wanted = ["shader-f16", "subgroups"] as const;
  const { maxComputeWorkgroupStorageSize, maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: { maxComputeWorkgroupStorageSize, maxStorageBufferBindingSize, maxBufferSize },
  });
  kept.push(gpu, adapter);
  return { device, traits: traitsOf(device), pool: new BufferPool(device), pipelines: new PipelineCache(device) };
}

/** Dawn for Node loses devices whose GPU object is collected. */
const kept: object[] = [];

/** Records something and returns what it wrote to `lengths` f32 each. */
export async function compute(
  gpu: Gpu,
  lengths: readonly number[],
  record: (recorder: Recorder, outs: readonly Slice[]) => void,
  traits = gpu.traits,
): Promise<Float32Array[]> {
  const { device, pool, pipelines } = gpu;
  const recorder = new Recorder(device, pool, traits);
  const outs = lengths.map((length) => {
    const slice = recorder.scratch(length * 4);
    // What nothing writes has to be seen.
    device.queue.writeBuffer(slice.buffer, 0, new Float32Array(Math.max(1, length)).fill(NaN));
    return slice;
  });
  record(recorder, outs);
  for (const program of recorder.programs) await pipelines.compile(program);
  const encoder = device.createCommandEncoder();
  device.pushErrorScope("validation");
  await Promise.all(recorder.encode(encoder, pipelines));
  const landings = outs.map(({ buffer }, i) => {
    const bytes = (lengths[i] ?? 0) * 4;
    const landing = pool.acquire(bytes, READBACK);
    if (bytes > 0) encoder.copyBufferToBuffer(buffer, 0, landing, 0, bytes);
    return landing;
  });
  device.queue.submit([encoder.finish()]);
  recorder.release();
  const error = await device.popErrorScope();
  if (error !== null) throw new Error(error.message);
  const results: Float32Array[] = [];
  for (const [i, landing] of landings.entries()) {
    await landing.mapAsync(GPUMapMode.READ);
    results.push(new Float32Array(landing.getMappedRange().slice(0, (lengths[i] ?? 0) * 4)));
    landing.unmap();
    pool.release(landing);
  }
  return results;
}

/** Attention on a device, as `attention` returns it. */
export async function attentionOn(
  gpu: Gpu,
  [q, k, v]: readonly [object, object, object],
  options: AttentionOptions & { layout?: Layout } = {},
  traits = gpu.traits,
): Promise<{ call: AttentionCall; out: Float32Array; lse: Float32Array }> {
  const call = parseAttention(q, k, v, { ...options, returnLse: true });
  const [out = new Float32Array(), lse = new Float32Array()] = await compute(
    gpu,
    [elementCount(call.result.shape), elementCount(call.result.lse?.shape ?? [])],
    (recorder, [outSlice, lseSlice]) => recordAttention(recorder, call, outSlice as Slice, lseSlice),
    traits,
  );
  return { call, out, lse };
}

export { outputStrides };
