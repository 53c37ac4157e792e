import type { Runtime } from "./backend/wasm/runtime.ts";
import { copyStrided } from "./copy-strided.ts";
import type { HostOutput, Output } from "./row-arguments.ts";
import { contiguousStrides } from "./shape.ts";
import { DeviceArray, type FloatArray, type GpuTensor, type Tensor } from "./tensor.ts";

/** Whether kernels write a result where it is wanted: in their own memory. */
export function ownsOutput(runtime: Runtime, out: Output | undefined): boolean {
  return out !== undefined && !(out.data instanceof DeviceArray) && runtime.memory.addressOf(out.data) >= 0;
}

/** Copies a gapless result into the caller's `out`, if there is one; returns what the call returns. */
export function copyOutput(out: Output | undefined, result: Tensor<"f32" | "f64">): Tensor<"f32" | "f64"> | GpuTensor {
  if (out === undefined) return result;
  const { data, strides } = out as HostOutput;
  copyStrided<FloatArray>(result.shape, result.data, contiguousStrides(result.shape), data, strides);
  return out.tensor;
}
