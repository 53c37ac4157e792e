import { afterAll, beforeAll } from "vitest";
import { type Gpu, openGpu } from "../../src/backend/webgpu/recorder/gpu.ts";
import type { ResidentTensor } from "../../src/backend/webgpu/device/resident-tensor.ts";
import type { Recorder, Slice } from "../../src/backend/webgpu/recorder/recorder.ts";
import type { Recording } from "../../src/backend/webgpu/recorder/recording.ts";
import type { Program } from "../../src/backend/webgpu/device/program.ts";
import { uniformBlock } from "../../src/backend/webgpu/device/uniforms.ts";
import { parseOutput } from "../../src/calls/arguments.ts";
import type { Call, Output, ResultTensor } from "../../src/calls/call.ts";
import type { AbortSignalLike } from "../../src/errors/signal.ts";
import { ArrayHandle } from "../../src/tensor/array.ts";
import { elementCount } from "../../src/tensor/shape.ts";
import { type GpuTensor, deviceView, toView } from "../../src/tensor/tensor.ts";

// Calls that are as simple as can be, to test what runs calls: y = factor · x + bias.

export const TOY_UNIFORMS = uniformBlock("Uniforms", { count: "u32", xBase: "u32", biasBase: "u32", yBase: "u32", factor: "f32" });

/** The program under a name of its own where a test wants it compiled anew. */
export function toyProgram(name = "toy", wgsl = TOY): Program {
  return { name, wgsl, bindings: ["uniform", "read", "read", "write"], features: [] };
}

const TOY = `${TOY_UNIFORMS.wgsl}
@group(0) @binding(0) var<uniform> u: Uniforms;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < u.count) {
    y[u.yBase + id.x] = u.factor * x[u.xBase + id.x] + bias[u.biasBase + id.x];
  }
}
`;

/** A GPU tensor as calls hold it. */
export type Operand = Float32Array | GpuTensor;

export interface ToyOptions {
  readonly factor?: number;
  readonly bias?: Operand;
  readonly shape?: readonly number[];
  /** As a caller gives it. */
  readonly out?: unknown;
  readonly program?: Program;
}

/** A call whose commands a test records: what it reads, and its results. */
export interface Job {
  readonly operands: readonly (ArrayHandle | undefined)[];
  readonly results: readonly { readonly shape: readonly number[]; readonly out?: Output | undefined }[];
  readonly record: (recorder: Recorder, results: readonly Slice[]) => void;
}

/** A job as a call, and what records it. */
function callOf({ operands, results, record }: Job): readonly [Call, (recorder: Recorder, call: never, slices: never) => void] {
  const call: Call = {
    kind: "rows",
    operands: Object.fromEntries(operands.map((data, i) => [`x${i}`, data && { data }])),
    results: Object.fromEntries(results.map(({ shape, out }, i) => [`y${i}`, { shape, dtype: "f32", out }])),
  };
  return [call, (recorder, _, slices) => record(recorder, Object.values(slices))];
}

const asList = (job: Job, returned: unknown): ResultTensor[] =>
  job.results.length === 1 ? [returned as ResultTensor] : Object.values(returned as Record<string, ResultTensor>);

/** Runs a job; its results in order. What is wrong with it is thrown at once. */
export function execute(gpu: Gpu, job: Job, signal?: AbortSignalLike): Promise<ResultTensor[]> {
  const [call, record] = callOf(job);
  return gpu.run(call, signal, record).then((returned) => asList(job, returned));
}

/** Records a job; its results in order. */
export function recordJob(recording: Recording, job: Job): ResultTensor[] {
  const [call, record] = callOf(job);
  return asList(job, recording.run(call, record));
}

/** Copies a tensor to a GPU. */
export function upload(gpu: Gpu, x: unknown, signal?: AbortSignalLike): Promise<ResidentTensor> {
  return gpu.upload(toView("x", x), signal);
}

/** factor · x + bias, with as many elements as `x` has (or `shape` says). */
export function toyJob(x: Operand, { factor = 2, bias, out, program = toyProgram(), ...rest }: ToyOptions = {}): Job {
  const view = toView("x", x);
  const addend = bias === undefined ? undefined : toView("bias", bias).data;
  const shape = rest.shape ?? view.shape;
  const count = elementCount(shape);
  return {
    operands: [view.data, addend],
    results: [{ shape, out: parseOutput(out, shape, "f32", undefined, {}) }],
    record(recorder, [y]) {
      if (y === undefined) throw new Error("a job of one result got none");
      const from = recorder.input(view.data, view.data.place === "gpu" ? undefined : count);
      const add = recorder.input(addend ?? ArrayHandle.of(new Float32Array(count), "f32"));
      const uniforms = TOY_UNIFORMS.pack({ count, xBase: recorder.baseOf(from, 4), biasBase: recorder.baseOf(add, 4), yBase: recorder.baseOf(y, 4), factor });
      recorder.run(program, uniforms, [from, add, y], [Math.ceil(count / 64), 1, 1]);
    },
  };
}

/** Runs one and returns its only result. */
export async function runToy(gpu: Gpu, x: Operand, options?: ToyOptions, signal?: AbortSignal): Promise<ResultTensor> {
  const [result] = await execute(gpu, toyJob(x, options), signal);
  if (result === undefined) throw new Error("a job of one result gave none");
  return result;
}

/** The numbers of a result, wherever they are. */
export async function numbersOf(gpu: Gpu, tensor: ResultTensor): Promise<number[]> {
  return Array.from(("buffer" in tensor ? await gpu.download(deviceView("x", tensor)) : tensor).data);
}

/** A GPU that validates commands and computes nothing; it needs no driver. */
export async function nullGpu(): Promise<GPU> {
  const { create } = await import("webgpu");
  return create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
}

/** The GPU of the `webgpu` package, or the reason why it has none. */
export async function someGpu(): Promise<GPU | string> {
  try {
    const { create } = await import("webgpu");
    const gpu = create([]);
    return (await gpu.requestAdapter()) === null ? "requestAdapter() gave null: no driver" : gpu;
  } catch (error) {
    return `the package "webgpu" does not load: ${String(error)}`;
  }
}

/** A backend of its own on a GPU. */
export function openOn(gpu: GPU | GPUDevice): Promise<Gpu> {
  return openGpu(gpu);
}

/** A device of the caller's. */
export async function someDevice(gpu: GPU): Promise<GPUDevice> {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("there was an adapter a moment ago");
  return adapter.requestDevice();
}

/** Opens a backend on a device of the caller's before the tests of a suite, and ends both after them. */
export function openForSuite(gpu: GPU, use: (opened: { readonly backend: Gpu; readonly device: GPUDevice }) => void): void {
  let end: (() => void) | undefined;
  beforeAll(async () => {
    const device = await someDevice(gpu);
    const backend = await openOn(device);
    end = () => {
      backend.dispose();
      device.destroy();
    };
    use({ backend, device });
  });
  afterAll(() => end?.());
}
