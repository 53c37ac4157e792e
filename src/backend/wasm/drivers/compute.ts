import { checkHost } from "../../../calls/arguments.ts";
import { type Call, type Output, type Returned, newOutput } from "../../../calls/call.ts";
import { elementCount } from "../../../tensor/shape.ts";
import type { Kernels } from "../module/kernels.ts";
import type { Runtime } from "../module/runtime.ts";
import { copyIn, copyOut } from "../plans/copies.ts";
import type { KernelCall, Machine, Plan, Planner } from "../plans/plan.ts";
import { TUNING } from "../plans/schedule.ts";

/** Scratch of a stage on one thread: input and output stay in the second-level cache between being copied in and out. */
const STAGE_BYTES = 1 << 18;

/**
 * Computes a call on the calling thread, in constant memory.
 *
 * @throws TypeError or UnsupportedError if the CPU cannot use an operand, BackendError if memory runs out. On error nothing is written
 */
export function compute<C extends Call>(runtime: Runtime, plan: Planner<C>, call: C): Returned<C> {
  checkOperands(call);
  const outputs = outputsOf(call);
  if (!isEmpty(call)) runPlan(runtime, plan(call, outputs, alone(runtime)));
  return tensorsOf(outputs) as Returned<C>;
}

/** Checks that the CPU can use all operands and results of a call. */
export function checkOperands({ operands, results }: Call): void {
  for (const name of Object.keys(operands)) {
    const operand = operands[name];
    if (operand !== undefined) checkHost(name, operand.data);
  }
  for (const name of Object.keys(results)) {
    const out = results[name]?.out;
    if (out !== undefined) checkHost(name, out.data);
  }
}

/** Where a call's results go: where the caller wants them, or to new arrays. */
export function outputsOf({ results }: Call): Record<string, Output> {
  const outputs: Record<string, Output> = {};
  for (const name of Object.keys(results)) {
    const result = results[name];
    if (result !== undefined) outputs[name] = result.out ?? newOutput(result.shape, result.dtype);
  }
  return outputs;
}

/** Whether there is nothing to compute. */
export function isEmpty({ results }: Call): boolean {
  for (const name of Object.keys(results)) {
    const result = results[name];
    if (result !== undefined && elementCount(result.shape) > 0) return false;
  }
  return true;
}

/** What a call returns: its result, or all results by name if there are several. */
export function tensorsOf(outputs: Readonly<Record<string, Output>>): unknown {
  const names = Object.keys(outputs);
  const only = outputs[names[0] ?? ""];
  return names.length === 1 && only !== undefined ? only.tensor : Object.fromEntries(names.map((name) => [name, outputs[name]?.tensor]));
}

/** The machine that plans for the calling thread alone are made for. */
export function alone({ memory }: Runtime): Machine {
  return { memory, threads: 1, divides: false, stageBytes: STAGE_BYTES, tuning: TUNING };
}

/** Runs a plan on the calling thread, stage by stage. */
export function runPlan(runtime: Runtime, plan: Plan): void {
  const { memory } = runtime;
  const kernels = kernelsOf(runtime, plan.families);
  const mark = memory.mark();
  try {
    const scratch = memory.take(plan.threadBytes);
    const base = memory.take(plan.stageBytes);
    const next = plan.stages(base);
    for (let stage = next(); stage !== undefined; stage = next()) {
      for (const { address, words } of stage.tables) memory.i32.set(words, address / 4);
      for (const copy of stage.in) copyIn(runtime, copy);
      for (const { calls, group } of stage.tasks) {
        if (group !== undefined) throw new Error("a plan for one thread has groups");
        for (const kernelCall of calls) make(kernels, kernelCall, scratch);
      }
      stage.conclude?.(memory);
      for (const copy of stage.out) copyOut(runtime, copy);
    }
  } finally {
    memory.release(mark);
  }
}

/** The kernels of a plan, by name. */
export function kernelsOf(runtime: Runtime, families: Plan["families"]): Kernels {
  const first = families[0];
  if (families.length === 1 && first !== undefined) return runtime.load(first) as Kernels;
  return Object.assign({}, ...families.map((family) => runtime.load(family))) as Kernels;
}

function make(kernels: Kernels, { kernel, args, relative }: KernelCall, scratch: number): void {
  const call: (...args: number[]) => void = kernels[kernel];
  if (relative === 0) call(...args);
  else if (relative === 1 << 6 && args.length === 8) {
    // Row kernels, whose seventh argument is scratch. Written out because it is noticeable in a call on ten elements.
    call(args[0] ?? 0, args[1] ?? 0, args[2] ?? 0, args[3] ?? 0, args[4] ?? 0, args[5] ?? 0, (args[6] ?? 0) + scratch, args[7] ?? 0);
  } else call(...args.map((arg, i) => ((relative >> i) & 1) * scratch + arg));
}
