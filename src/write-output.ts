import type { Runtime } from "./backend/wasm/runtime.ts";
import type { HostOutput, Output } from "./row-arguments.ts";
import { DeviceArray, type FloatArray, type GpuTensor, type Tensor } from "./tensor.ts";

/** Whether kernels write a result where it is wanted: in their own memory. */
export function ownsOutput(runtime: Runtime, out: Output | undefined): boolean {
  return out !== undefined && !(out.data instanceof DeviceArray) && runtime.memory.addressOf(out.data) >= 0;
}

/** Copies a gapless result into the caller's `out`, if there is one; returns what the call returns. */
export function copyOutput(out: Output | undefined, result: Tensor<"f32" | "f64">): Tensor<"f32" | "f64"> | GpuTensor {
  if (out === undefined) return result;
  const { data, strides } = out as HostOutput;
  scatter(result.data, data, result.shape, strides);
  return out.tensor;
}

/** Writes neighbours to elements that lie `strides` apart. */
function scatter(from: FloatArray, to: FloatArray, shape: readonly number[], strides: readonly number[]): void {
  let next = 0;
  const walk = (d: number, at: number): void => {
    const size = shape[d];
    if (size === undefined) {
      to[at] = from[next++] ?? 0;
      return;
    }
    const stride = strides[d] ?? 0;
    if (d === shape.length - 1 && stride === 1) {
      to.set(from.subarray(next, next + size), at);
      next += size;
    } else for (let i = 0; i < size; i++) walk(d + 1, at + i * stride);
  };
  if (isGapless(shape, strides)) to.set(from);
  else walk(0, 0);
}

function isGapless(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] !== 1 && strides[d] !== step) return false;
    step *= shape[d] ?? 0;
  }
  return true;
}
