import { parseAttention } from "../ops/attention.ts";
import type { Cpu } from "../backend/wasm/drivers/cpu.ts";
import type { Gpu } from "../backend/webgpu/recorder/gpu.ts";
import type { PreparedTask, ProbeTask } from "./calibrate.ts";
import type { Device } from "./dispatch.ts";
import { parseLogSumExp } from "../ops/log-sum-exp.ts";
import { elementCount } from "../tensor/shape.ts";
import { parseSoftmax } from "../ops/softmax.ts";
import type { ResidentTensor } from "../tensor/tensor.ts";

/** Sets up a probe of the calibration on this machine: operands are zeros, which take as long as any other numbers. */
export async function prepareProbe(cpu: Cpu, gpu: Gpu, device: Device, task: ProbeTask): Promise<PreparedTask> {
  if ("bytes" in task) return task.kind === "upload" ? prepareUpload(gpu, task.bytes) : prepareDownload(gpu, task.bytes);
  const resident = task.place === "gpu";
  const uploaded: ResidentTensor[] = [];
  const operand = async (shape: readonly number[]): Promise<unknown> => {
    const zeros = { data: new Float32Array(elementCount(shape)), shape };
    if (!resident) return zeros;
    const tensor = await gpu.upload(zeros);
    uploaded.push(tensor);
    return tensor;
  };
  let call: () => unknown;
  if (task.kind === "attention") {
    const { heads, kvHeads = heads, queries, keys, dim, causal = false } = task.sizes;
    const [q, k, v] = [await operand([heads, queries, dim]), await operand([kvHeads, keys, dim]), await operand([kvHeads, keys, dim])];
    const on = device === "webgpu" ? gpu : cpu;
    call = () => on.attention(parseAttention(q, k, v, { causal }));
  } else {
    const x = await operand(task.shape);
    const parse = task.kind === "softmax" ? parseSoftmax : parseLogSumExp;
    const on = device === "webgpu" ? gpu : cpu;
    call = () => on.rows(parse(x));
  }
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) {
        const result = await call();
        if (resident) (result as ResidentTensor).dispose();
      }
      if (resident) await gpu.idle();
    },
    dispose: () => {
      for (const tensor of uploaded) tensor.dispose();
    },
  };
}

function prepareUpload(gpu: Gpu, bytes: number): PreparedTask {
  const data = new Float32Array(bytes / 4);
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) (await gpu.upload(data)).dispose();
      await gpu.idle();
    },
    dispose: () => undefined,
  };
}

function prepareDownload(gpu: Gpu, bytes: number): PreparedTask {
  const x = gpu.empty([bytes / 4]);
  return {
    async run(calls) {
      for (let i = 0; i < calls; i++) await gpu.download(x);
    },
    dispose: () => x.dispose(),
  };
}
