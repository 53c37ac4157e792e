import { type HostOutput, newOutput } from "../../../calls/arguments.ts";
import { type HostRowCall, type RowCall, hostRowCall, resultStrides } from "../../../calls/row-call.ts";
import { planRows } from "../../../calls/row-dims.ts";
import { elementCount } from "../../../tensor/shape.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { BLOCK_ELEMENTS, type RowKernelName, STATE_BYTES } from "../module/kernels.ts";
import { type RowOperation, runRows } from "./rows.ts";
import type { Runtime } from "../module/runtime.ts";

/** Runs a row operation on the calling thread. */
export function runRowCall(runtime: Runtime, given: RowCall): Tensor<"f32" | "f64"> {
  const call = hostRowCall(given);
  const out = call.out ?? newOutput(call.shape, call.x.dtype);
  if (elementCount(call.shape) > 0) runRows(runtime, rowOperation(call, out));
  return out.tensor;
}

/** What the CPU does for a call. */
export function rowOperation(call: HostRowCall, out: HostOutput): RowOperation {
  const { op, x, bias, mask } = call;
  const plan = planRows(x.shape, call.axes, { x: x.strides, y: resultStrides(call, out.strides), bias: bias?.strides, mask: mask?.strides });
  return {
    plan,
    dtype: x.dtype,
    x: x.data,
    y: out.data,
    reduces: op === "logSumExp",
    scale: call.scale,
    bias: bias?.data,
    mask: mask?.data,
    kernel: kernelOf(call),
    safe: call.safe ? 1 : 0,
    scratchBytes: Math.max(STATE_BYTES, Math.ceil(plan.colCount / BLOCK_ELEMENTS) * 4),
  };
}

function kernelOf({ op, x, algorithm }: HostRowCall): RowKernelName {
  if (op === "logSumExp") return `log_sum_exp_${x.dtype}`;
  if (op === "logSoftmax") return `log_softmax_${x.dtype}`;
  if (x.dtype === "f64") return "softmax_f64";
  return algorithm === "auto" ? "softmax_online_f32" : `softmax_${algorithm}_f32`;
}
