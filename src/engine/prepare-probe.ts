import type { Cpu } from "../backend/wasm/drivers/cpu.ts";
import type { Gpu } from "../backend/webgpu/recorder/gpu.ts";
import { elementCount } from "../tensor/shape.ts";
import { type ResidentTensor, type Tensor, toView } from "../tensor/tensor.ts";
import type { PreparedTask, ProbeTask } from "./calibrate.ts";
import type { Device } from "./dispatch.ts";
import { OPERATIONS, parseCall } from "./operations.ts";

/** Sets up a calibration probe on this machine. Its operands are zeros, which take as long as any other numbers. */
export async function prepareProbe(cpu: Cpu, gpu: Gpu, device: Device, task: ProbeTask): Promise<PreparedTask> {
  if ("bytes" in task) return prepareTransfer(gpu, task.kind, task.bytes);
  const { op, shapes, place } = task;
  const onGpu = place === "gpu";
  const zeros = OPERATIONS[op].needs.map((name) => zerosOf(shapes[name] ?? []));
  const operands = onGpu ? await Promise.all(zeros.map((zero) => gpu.upload(toView("x", zero)))) : zeros;
  const on = device === "webgpu" ? gpu : cpu;
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) disposeOf(await on.run(parseCall(op, ...operands)));
      if (onGpu) await gpu.idle();
    },
    dispose: () => operands.forEach(disposeOf),
  };
}

function prepareTransfer(gpu: Gpu, kind: "upload" | "download", bytes: number): PreparedTask {
  const view = toView("x", zerosOf([bytes / 4]));
  const x = kind === "download" ? gpu.empty(view.shape) : undefined;
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) disposeOf(await (x === undefined ? gpu.upload(view) : gpu.download(toView("x", x))));
      if (x === undefined) await gpu.idle();
    },
    dispose: () => disposeOf(x),
  };
}

function zerosOf(shape: readonly number[]): Tensor<"f32"> {
  return { data: new Float32Array(elementCount(shape)), shape, dtype: "f32" };
}

/** Frees the GPU memory of a tensor. */
function disposeOf(tensor: unknown): void {
  (tensor as Partial<ResidentTensor> | undefined)?.dispose?.();
}
