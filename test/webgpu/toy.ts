import { afterAll, beforeAll } from "vitest";
import { WebGpuBackend } from "../../src/backend/webgpu/recorder/backend.ts";
import type { Job, ResultTensor } from "../../src/backend/webgpu/recorder/job.ts";
import type { Program } from "../../src/backend/webgpu/device/program.ts";
import { uniformBlock } from "../../src/backend/webgpu/device/uniforms.ts";
import { parseOutput } from "../../src/calls/arguments.ts";
import { elementCount } from "../../src/tensor/shape.ts";
import { DeviceArray, type GpuTensor, toView } from "../../src/tensor/tensor.ts";

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
      const from = recorder.input(view.data, view.data instanceof DeviceArray ? undefined : count);
      const add = recorder.input(addend ?? new Float32Array(count));
      const uniforms = TOY_UNIFORMS.pack({ count, xBase: recorder.baseOf(from, 4), biasBase: recorder.baseOf(add, 4), yBase: recorder.baseOf(y, 4), factor });
      recorder.run(program, uniforms, [from, add, y], [Math.ceil(count / 64), 1, 1]);
    },
  };
}

/** Runs one and returns its only result. */
export async function runToy(backend: WebGpuBackend, x: Operand, options?: ToyOptions, signal?: AbortSignal): Promise<ResultTensor> {
  const [result] = await backend.execute(toyJob(x, options), signal);
  if (result === undefined) throw new Error("a job of one result gave none");
  return result;
}

/** The numbers of a result, wherever they are. */
export async function numbersOf(backend: WebGpuBackend, tensor: ResultTensor): Promise<number[]> {
  const { data, shape } = toView("tensor", tensor);
  if (!(data instanceof DeviceArray)) return Array.from(data);
  return Array.from((await backend.download({ data, shape, dtype: "f32" })).data);
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
export async function openOn(gpu: GPU | GPUDevice): Promise<WebGpuBackend> {
  const backend = await WebGpuBackend.open(gpu);
  if ("reason" in backend) throw new Error(backend.reason);
  return backend;
}

/** A device of the caller's. */
export async function someDevice(gpu: GPU): Promise<GPUDevice> {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("there was an adapter a moment ago");
  return adapter.requestDevice();
}

/** Opens a backend on a device of the caller's before the tests of a suite, and ends both after them. */
export function openForSuite(gpu: GPU, use: (opened: { readonly backend: WebGpuBackend; readonly device: GPUDevice }) => void): void {
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
