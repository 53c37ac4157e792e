import { newOutput } from "../../row-arguments.ts";
import { type RowCall, hostRowCall, resultStrides } from "../../row-call.ts";
import { planRows } from "../../row-plan.ts";
import { elementCount } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { BLOCK_ELEMENTS, type Kernels, type RowKernel, STATE_BYTES } from "./kernels.ts";
import { type RowJob, runRows } from "./rows.ts";
import type { Runtime } from "./runtime.ts";

/** Operations of `rows_f64`. */
const F64_OPS = { softmax: 0, logSoftmax: 1, logSumExp: 2 } as const;

/** Runs a row operation on the calling thread. */
export function runRowCall(runtime: Runtime, given: RowCall): Tensor<"f32" | "f64"> {
  const call = hostRowCall(given);
  const { x, bias, mask } = call;
  const out = call.out ?? newOutput(call.shape, x.dtype);
  if (elementCount(call.shape) === 0) return out.tensor;
  const plan = planRows(x.shape, call.axes, { x: x.strides, y: resultStrides(call, out.strides), bias: bias?.strides, mask: mask?.strides });
  runRows(runtime, {
    plan,
    dtype: x.dtype,
    x: x.data,
    y: out.data,
    reduces: call.op === "logSumExp",
    scale: call.scale,
    bias: bias?.data,
    mask: mask?.data,
    scratchBytes: Math.max(STATE_BYTES, Math.ceil(plan.colCount / BLOCK_ELEMENTS) * 4),
    kernel: kernelOf(call, runtime.kernels),
  });
  return out.tensor;
}

function kernelOf({ op, x, algorithm, safe }: RowCall, kernels: Kernels): RowJob["kernel"] {
  const flag = safe ? 1 : 0;
  if (x.dtype === "f64")
    return (_, from, to, rows, cols, fromStride, toStride) => kernels.rows_f64(from, to, rows, cols, fromStride, toStride, F64_OPS[op], flag);
  if (op === "logSumExp")
    return (_, from, to, rows, cols, fromStride, toStride, scratch) => kernels.log_sum_exp_f32(from, to, rows, cols, fromStride, toStride, scratch);
  const kernel = op === "softmax" ? softmaxKernel(kernels, algorithm) : kernels.log_softmax_f32;
  return (_, from, to, rows, cols, fromStride, toStride, scratch) => kernel(from, to, rows, cols, fromStride, toStride, scratch, flag);
}

function softmaxKernel(kernels: Kernels, algorithm: RowCall["algorithm"]): RowKernel {
  switch (algorithm) {
    case "standard":
      return kernels.softmax_standard_f32;
    case "safe":
      return kernels.softmax_safe_f32;
    case "online":
    case "auto":
      return kernels.softmax_online_f32;
    default:
      return algorithm satisfies never;
  }
}
