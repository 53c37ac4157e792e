import { parseAttentionScores } from "../../src/ops/attention-scores.ts";
import { parseAttentionVarlen } from "../../src/ops/attention-varlen.ts";
import { parseAttention } from "../../src/ops/attention.ts";
import { type Call, resultsOf, returned } from "../../src/calls/call.ts";
import { BufferPool, READBACK } from "../../src/backend/webgpu/device/buffers.ts";
import { RECORDERS } from "../../src/backend/webgpu/plans/recorders.ts";
import { PipelineCache } from "../../src/backend/webgpu/device/pipelines.ts";
import { Recorder, type Slice } from "../../src/backend/webgpu/recorder/recorder.ts";
import { type DeviceTraits, traitsOf } from "../../src/backend/webgpu/device/traits.ts";
import { parseMergeStates } from "../../src/ops/merge-states.ts";
import { elementCount } from "../../src/tensor/shape.ts";
import type { Subject } from "./subjects.ts";

// A bare device: calls are recorded, encoded and read back, so kernels can be tested without an engine, and with traits that the
// device does not have.

/** A device, and what is needed to run calls on it. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly traits: DeviceTraits;
  readonly pool: BufferPool;
  readonly pipelines: PipelineCache;
  /** What the device came from. Dawn for Node drops the device when these are collected. */
  readonly from: readonly object[];
}

/** Opens a device with every feature that kernels can use. */
export async function openGpu(gpu: GPU): Promise<Gpu> {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("requestAdapter() gave null: no driver");
  const { maxComputeWorkgroupStorageSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: (["shader-f16", "subgroups"] as const).filter((feature) => adapter.features.has(feature)),
    requiredLimits: { maxComputeWorkgroupStorageSize },
  });
  return { device, traits: traitsOf(device), pool: new BufferPool(device), pipelines: new PipelineCache(device), from: [gpu, adapter] };
}

/** Records something and returns what it wrote to results of `lengths` f32. */
export async function compute(
  { device, pool, pipelines, traits }: Gpu,
  lengths: readonly number[],
  record: (recorder: Recorder, results: readonly Slice[]) => void,
): Promise<Float32Array[]> {
  const recorder = new Recorder(device, pool, traits);
  const results = lengths.map((length) => {
    const slice = recorder.scratch(length * 4);
    // Elements that nothing writes must show.
    device.queue.writeBuffer(slice.buffer, 0, new Float32Array(slice.buffer.size / 4).fill(NaN));
    return slice;
  });
  if (Math.max(...lengths) > 0) record(recorder, results);
  await recorder.prepare(pipelines);
  const encoder = device.createCommandEncoder();
  device.pushErrorScope("validation");
  await Promise.all(recorder.encode(encoder, pipelines));
  const landings = results.map((slice) => {
    const landing = pool.acquire(slice.byteLength, READBACK);
    const { buffer } = recorder.locate(slice);
    if (slice.byteLength > 0) encoder.copyBufferToBuffer(buffer, 0, landing, 0, slice.byteLength);
    return landing;
  });
  device.queue.submit([encoder.finish()]);
  recorder.release();
  const error = await device.popErrorScope();
  if (error !== null) throw new Error(error.message);
  return Promise.all(
    landings.map(async (landing, i) => {
      await landing.mapAsync(1);
      const numbers = new Float32Array(landing.getMappedRange().slice(0, (lengths[i] ?? 0) * 4));
      landing.unmap();
      pool.release(landing);
      return numbers;
    }),
  );
}

/** Runs a checked call. */
export async function runCall(gpu: Gpu, call: Call): Promise<unknown> {
  const results = resultsOf(call);
  const lengths = results.map(([, { shape }]) => elementCount(shape));
  const computed = await compute(gpu, lengths, (recorder, slices) => {
    const byName = Object.fromEntries(results.map(([name], i) => [name, slices[i]]));
    RECORDERS[call.kind](recorder, call as never, byName as never);
  });
  return returned(Object.fromEntries(results.map(([name, { shape }], i) => [name, { data: computed[i] ?? new Float32Array(), shape, dtype: "f32" }])));
}

const notHere = (): never => {
  throw new Error("only attention is computed here");
};

/** Attention on a device, in the form that suites take; `traits` replace the device's own. */
export function attentionSubject(given: Gpu, traits: Partial<DeviceTraits> = {}, name = "webgpu"): Subject {
  const gpu = { ...given, traits: { ...given.traits, ...traits } };
  return {
    name,
    kind: "webgpu",
    homes: ["array"],
    dtypes: ["f32"],
    propagates: false,
    denormals: false,
    softmax: notHere,
    logSoftmax: notHere,
    logSumExp: notHere,
    linear: notHere,
    matmul: notHere,
    topK: notHere,
    topKSoftmax: notHere,
    sample: notHere,
    crossEntropy: notHere,
    keep: notHere,
    attention: async (...args: Parameters<typeof parseAttention>) => (await runCall(gpu, parseAttention(...args))) as never,
    attentionVarlen: async (...args) => (await runCall(gpu, parseAttentionVarlen(...args))) as never,
    attentionScores: async (...args) => (await runCall(gpu, parseAttentionScores(...args))) as never,
    mergeStates: async (...args) => (await runCall(gpu, parseMergeStates(...args))) as never,
    read: ({ data }) => data.slice(),
  };
}
