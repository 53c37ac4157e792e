import { holdIn } from "../backend/wasm/module/held-tensors.ts";
import type { ModuleMemory } from "../backend/wasm/module/memory.ts";
import type { Runtime } from "../backend/wasm/module/runtime.ts";
import { copyStrided } from "../tensor/copy-strided.ts";
import type { HostOutput, Output } from "../calls/arguments.ts";
import { contiguousStrides } from "../tensor/shape.ts";
import { DeviceArray, type FloatArray, type GpuTensor, type Tensor } from "../tensor/tensor.ts";

/** Whether kernels write a result where it is wanted: in their own memory. */
export function ownsOutput(runtime: Runtime, out: Output | undefined): boolean {
  return out !== undefined && !(out.data instanceof DeviceArray) && runtime.memory.addressOf(out.data) >= 0;
}

/** Where a result goes that comes later: in module memory, this one's or that of the plain functions, growth may detach views until then. */
export function holdOutput<O extends Output>(memory: ModuleMemory, out: O): O {
  const held = holdIn(memory)(out);
  const { data, tensor } = out;
  if (held !== out || data instanceof DeviceArray || !("data" in tensor)) return held;
  return {
    ...out,
    get data() {
      return data.length === 0 ? tensor.data : data;
    },
  };
}

/** Copies a gapless result into the caller's `out`; returns what the call returns. */
export function copyOutput(out: Output, result: Tensor<"f32" | "f64">): Tensor<"f32" | "f64"> | GpuTensor {
  const { data, strides } = out as HostOutput;
  copyStrided<FloatArray>(result.shape, result.data, contiguousStrides(result.shape), data, strides);
  return out.tensor;
}
