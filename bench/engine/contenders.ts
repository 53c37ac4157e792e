import type { Engine } from "../../src/engine/engine.ts";
import type { EngineRecording } from "../../src/engine/recording.ts";
import type { ResidentTensor, Tensor, TensorLike } from "../../src/tensor/tensor.ts";
import type { Contender, Runner } from "../contender.ts";
import type { Engines, GpuEngines } from "./engines.ts";

/** A call of an engine, on operands that are arrays or on the GPU alike. */
export interface EngineCall {
  readonly operands: readonly Tensor<"f32">[];
  readonly outShape: readonly number[];
  /** Makes the call. `on` is an engine or what its `encode` gives: their methods are the same. */
  readonly call: (on: Operations, operands: readonly TensorLike[], options: { readonly out: TensorLike }) => unknown;
}

/** What an engine and a recording have in common, as far as suites use it. */
export interface Operations {
  softmax(x: TensorLike, options: { readonly out: TensorLike }): unknown;
  attention(q: TensorLike, k: TensorLike, v: TensorLike, options: { readonly out: TensorLike; readonly causal?: boolean }): unknown;
}

/** Milliseconds that a batch of calls fills, so that waiting for the GPU (50 to 200 µs) is a small part of it. */
const BATCH_MS = 40;
const MOST_CALLS = 256;

/** Largest errors that pass verification. */
export interface EngineTolerances<Input> {
  readonly tolerance: (input: Input) => number;
  readonly gpuTolerance: (input: Input) => number;
}

const SINGLE = "CPU, 1 thread";
const RESIDENT = "GPU, resident";

/** One operation on every device, and the ways to hand over its operands. */
export function engineContenders<Input>(
  { single, all, threads, gpu }: Engines,
  callOf: (input: Input) => EngineCall,
  { tolerance, gpuTolerance, skipSingle }: EngineTolerances<Input> & { readonly skipSingle?: string | undefined },
): readonly Contender<Input>[] {
  const { variant } = single.info().wasm;
  const reason = "unavailable" in gpu ? gpu.unavailable : undefined;
  const group = "onepass";
  const several = `CPU, ${threads} threads`;
  const lead = reason === undefined ? RESIDENT : threads === 1 ? SINGLE : several;
  const onCpu = (name: string, engine: Engine, skipped?: string): Contender<Input> => ({
    ...{ name, group, variant, tolerance, skipped },
    prepare: (input) => perCall(engine, callOf(input)),
  });
  const onGpu = (name: string, note: string, prepare: (on: GpuEngines, call: EngineCall) => Runner | Promise<Runner>): Contender<Input> => ({
    ...{ name, group, note, variant: "webgpu", tolerance: gpuTolerance, skipped: reason },
    prepare: (input) => prepare(gpu as GpuEngines, callOf(input)),
  });
  return [
    onCpu(SINGLE, single, skipSingle),
    ...(threads === 1 ? [] : [onCpu(several, all)]),
    onGpu("GPU, per call", "operands sent, result read back by every call", ({ engine }, call) => perCall(engine, call)),
    onGpu(RESIDENT, "operands and result on the GPU; calls in batches, waited for once", resident),
    onGpu("GPU, recorded", "the same in one command buffer, by the GPU's clock", recorded),
  ].map((contender) => ({ ...contender, lead: contender.name === lead }));
}

/** Arrays of the caller in and out. */
export function perCall(engine: Engine, { operands, outShape, call }: EngineCall): Runner {
  const out = { data: new Float32Array(outShape.reduce((n, size) => n * size, 1)), shape: outShape };
  return { run: () => call(engine, operands, { out }), read: () => out.data, clear: () => out.data.fill(NaN) };
}

/** Operands and output on the GPU. */
async function onGpu({ engine, device }: GpuEngines, { operands, outShape }: EngineCall) {
  const uploaded = await Promise.all(operands.map((operand) => engine.upload(operand)));
  const out = engine.empty(outShape, { device: "webgpu" });
  return {
    operands: uploaded as unknown as readonly TensorLike[],
    options: { out: out as unknown as TensorLike },
    read: async () => (await engine.download(out)).data,
    clear() {
      // Zeros are no result of softmax, and none of attention on random values.
      const encoder = device.createCommandEncoder();
      encoder.clearBuffer(out.buffer as GPUBuffer);
      device.queue.submit([encoder.finish()]);
    },
    dispose() {
      for (const tensor of [...uploaded, out] as readonly ResidentTensor[]) tensor.dispose();
    },
  };
}

/** Calls through the engine's methods, as a program makes them whose tensors stay on the GPU. */
async function resident(gpu: GpuEngines, call: EngineCall): Promise<Runner> {
  const { engine, device } = gpu;
  const { operands, options, ...rest } = await onGpu(gpu, call);
  const run = async (calls: number): Promise<number> => {
    const before = performance.now();
    for (let i = 0; i < calls; i++) await call.call(engine, operands, options);
    await device.queue.onSubmittedWorkDone();
    return performance.now() - before;
  };
  return { ...rest, ...inBatches(run) };
}

/** Calls recorded into one encoder: what the GPU takes, whatever JavaScript does meanwhile. */
async function recorded(gpu: GpuEngines, call: EngineCall): Promise<Runner> {
  const { engine, timer } = gpu;
  const { operands, options, ...rest } = await onGpu(gpu, call);
  const run = async (calls: number): Promise<number> => {
    const recordings: EngineRecording[] = [];
    const ms = await timer.time((encoder) => {
      const recording = engine.encode(encoder);
      recordings.push(recording);
      for (let i = 0; i < calls; i++) call.call(recording as unknown as Operations, operands, options);
    });
    for (const recording of recordings) recording.dispose();
    return ms;
  };
  return { ...rest, ...inBatches(run) };
}

/** Times calls that are too short to be timed alone; `run` says how long a number of them took, in ms. */
function inBatches(run: (calls: number) => Promise<number>): Pick<Runner, "run" | "time"> {
  let calls: number | undefined;
  return {
    run: () => run(1),
    async time() {
      calls ??= batchOf(await run(1));
      return (await run(calls)) / calls;
    },
  };
}

function batchOf(callMs: number): number {
  return Math.max(1, Math.min(MOST_CALLS, Math.round(BATCH_MS / callMs)));
}
