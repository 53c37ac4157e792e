import { parseAttentionScores } from "../../src/ops/attention-scores.ts";
import { parseAttentionVarlen } from "../../src/ops/attention-varlen.ts";
import { parseAttention } from "../../src/ops/attention.ts";
import type { AttentionCall } from "../../src/calls/attention-call.ts";
import { recordAttentionScores } from "../../src/backend/webgpu/plans/attention-scores.ts";
import { recordAttention } from "../../src/backend/webgpu/plans/attention.ts";
import { BufferPool, READBACK } from "../../src/backend/webgpu/device/buffers.ts";
import { recordMergeStates } from "../../src/backend/webgpu/plans/merge-states.ts";
import { PipelineCache } from "../../src/backend/webgpu/device/pipelines.ts";
import { Recorder, type Slice } from "../../src/backend/webgpu/recorder/recorder.ts";
import { type DeviceTraits, traitsOf } from "../../src/backend/webgpu/device/traits.ts";
import type { Tensor } from "../../src/index.ts";
import { parseMergeStates } from "../../src/ops/merge-states.ts";
import { elementCount } from "../../src/tensor/shape.ts";
import type { Subject } from "./subjects.ts";

// A device with nothing around it: calls are recorded, encoded and read back, so that kernels are tested without an engine, and
// with traits that the device does not have.

/** A device, and what runs on it. */
export interface Gpu {
  readonly device: GPUDevice;
  readonly traits: DeviceTraits;
  readonly pool: BufferPool;
  readonly pipelines: PipelineCache;
  /** What the device came from: Dawn for Node takes it away when these are collected. */
  readonly from: readonly object[];
}

/** Opens a device with all that kernels can use. */
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
    // What nothing writes has to be seen.
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

const f32 = (data: Float32Array, shape: readonly number[]): Tensor<"f32"> => ({ data, shape, dtype: "f32" });

/** Runs a checked call of attention. */
export async function runCall(gpu: Gpu, call: AttentionCall): Promise<{ readonly out: Tensor<"f32">; readonly lse: Tensor<"f32"> }> {
  const { shape, lse } = call.result;
  const lseShape = lse?.shape ?? [0];
  const [out = new Float32Array(), logs = new Float32Array()] = await compute(gpu, [elementCount(shape), elementCount(lseShape)], (recorder, [o, l]) => {
    if (o !== undefined) recordAttention(recorder, call, o, lse && l);
  });
  return { out: f32(out, shape), lse: f32(logs, lseShape) };
}

const notHere = (): never => {
  throw new Error("only attention is computed here");
};

/** Attention on a device as suites take it; `traits` in place of the device's own. */
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
    keep: notHere,
    attention: async (q: unknown, k: unknown, v: unknown, options?: { readonly returnLse?: boolean }) => {
      const result = await runCall(gpu, parseAttention(q, k, v, options));
      const returned: unknown = options?.returnLse === true ? result : result.out;
      return returned as never;
    },
    attentionVarlen: async (q, k, v, options) => {
      const result = await runCall(gpu, parseAttentionVarlen(q, k, v, options));
      return options.returnLse === true ? result : result.out;
    },
    attentionScores: async (q, k, options) => {
      const call = parseAttentionScores(q, k, options);
      const [scores = new Float32Array()] = await compute(gpu, [elementCount(call.shape)], (recorder, [out]) => {
        if (out !== undefined) recordAttentionScores(recorder, call, out);
      });
      return f32(scores, call.shape);
    },
    mergeStates: async (parts, options) => {
      const call = parseMergeStates(parts, options);
      const [out = new Float32Array(), lse = new Float32Array()] = await compute(
        gpu,
        [elementCount(call.shape), elementCount(call.lseShape)],
        (recorder, [o, l]) => {
          if (o !== undefined && l !== undefined) recordMergeStates(recorder, call, o, l);
        },
      );
      return { out: f32(out, call.shape), lse: f32(lse, call.lseShape) };
    },
    read: ({ data }) => data.slice(),
  };
}
