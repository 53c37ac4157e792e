import type { EngineRecording, TensorLike } from "../../src/index.ts";
import type { Engines, GpuEngines } from "../engine/engines.ts";
import type { Contender, Runner } from "../measure/contender.ts";
import type { Problem } from "../measure/problem.ts";
import { toleranceOf } from "../measure/verify.ts";
import { callOn, onArrays, onepass } from "./onepass.ts";

/** Milliseconds that a batch of calls fills, so that waiting for the GPU (50 to 200 µs) is a small part of it. */
const BATCH_MS = 40;
const MOST_CALLS = 256;

const SINGLE = "CPU, 1 thread";
const RESIDENT = "GPU, resident";

/** One operation on every device, and the ways to hand over its operands. */
export function onEveryDevice({ single, all, threads, gpu }: Engines, skipSingle?: string, skipGpu?: string): readonly Contender[] {
  const reason = "unavailable" in gpu ? gpu.unavailable : skipGpu;
  const several = `CPU, ${threads} threads`;
  const lead = !("unavailable" in gpu) ? RESIDENT : threads === 1 ? SINGLE : several;
  const onGpu = (name: string, note: string, prepare: (on: GpuEngines, problem: Problem) => Runner | Promise<Runner>): Contender => ({
    ...{ name, group: "onepass", note, variant: "webgpu", skipped: reason },
    tolerance: (problem) => toleranceOf(problem, "webgpu"),
    prepare: (problem) => prepare(gpu as GpuEngines, problem),
  });
  return [
    { ...onepass(single, SINGLE, onArrays), skipped: skipSingle },
    ...(threads === 1 ? [] : [onepass(all, several, onArrays)]),
    onGpu("GPU, per call", "operands sent, result read back by every call", ({ engine }, problem) => onArrays(engine, problem)),
    onGpu(RESIDENT, "operands and result on the GPU; calls in batches, waited for once", resident),
    onGpu("GPU, recorded", "the same in one command buffer, by the GPU's clock", recorded),
  ].map((contender) => ({ ...contender, lead: contender.name === lead }));
}

/** Operands and output on the GPU. */
async function upload({ engine, device }: GpuEngines, { operands, outShape }: Problem) {
  const uploaded = await Promise.all(operands.map((operand) => engine.upload(operand)));
  const out = engine.empty(outShape, { device: "webgpu" });
  return {
    operands: uploaded as unknown as readonly TensorLike[],
    out,
    read: async () => (await engine.download(out)).data,
    clear() {
      // Zeros are no result of softmax, and none of attention on random values.
      const encoder = device.createCommandEncoder();
      encoder.clearBuffer(out.buffer as GPUBuffer);
      device.queue.submit([encoder.finish()]);
    },
    dispose() {
      for (const tensor of [...uploaded, out]) tensor.dispose();
    },
  };
}

/** Calls through the engine's methods, as a program makes them whose tensors stay on the GPU. */
async function resident(gpu: GpuEngines, problem: Problem): Promise<Runner> {
  const { operands, out, ...rest } = await upload(gpu, problem);
  const call = callOn(gpu.engine, problem, operands, { out });
  const run = async (calls: number): Promise<number> => {
    const before = performance.now();
    for (let i = 0; i < calls; i++) await call();
    await gpu.device.queue.onSubmittedWorkDone();
    return performance.now() - before;
  };
  return { ...rest, ...inBatches(run) };
}

/** Calls recorded into one encoder: what the GPU takes, whatever JavaScript does meanwhile. */
async function recorded({ engine, timer, ...gpu }: GpuEngines, problem: Problem): Promise<Runner> {
  const { operands, out, ...rest } = await upload({ engine, timer, ...gpu }, problem);
  const run = async (calls: number): Promise<number> => {
    const recordings: EngineRecording[] = [];
    const ms = await timer.time((encoder) => {
      const recording = engine.encode(encoder);
      recordings.push(recording);
      const call = callOn(recording, problem, operands, { out });
      for (let i = 0; i < calls; i++) call();
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
      calls ??= Math.max(1, Math.min(MOST_CALLS, Math.round(BATCH_MS / (await run(1)))));
      return (await run(calls)) / calls;
    },
  };
}
