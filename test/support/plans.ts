import type { Call } from "../../src/calls/call.ts";
import { kernelsOf, outputsOf, tensorsOf } from "../../src/backend/wasm/drivers/compute.ts";
import type { Runtime } from "../../src/backend/wasm/module/runtime.ts";
import { copyIn, copyOut } from "../../src/backend/wasm/plans/copies.ts";
import type { Group, KernelCall, Machine, Planner } from "../../src/backend/wasm/plans/plan.ts";
import { shuffled } from "./property.ts";

/** What a plan returned, and how it was divided. */
export interface Ran<T> {
  readonly result: T;
  readonly stages: number;
  readonly tasks: number;
  readonly groups: number;
}

/**
 * Runs a plan the way threads may: a stage's tasks in any order, each on any thread, with nothing in the thread's scratch that a task
 * could rely on; a group's calls after the last of its tasks.
 */
export function runDivided<C extends Call, T>(
  runtime: Runtime,
  planner: Planner<C>,
  call: C,
  machine: Omit<Machine, "memory" | "divides">,
  seed: number,
): Ran<T> {
  const { memory } = runtime;
  const outputs = outputsOf(call);
  const plan = planner(call, outputs, { memory, divides: true, ...machine });
  const kernels = kernelsOf(runtime, plan.families);
  const mark = memory.mark();
  const base = memory.take(plan.stageBytes);
  const scratch = Array.from({ length: machine.threads }, () => memory.take(plan.threadBytes));
  const make = ({ kernel, args, relative }: KernelCall, at: number): void => {
    const run: (...args: number[]) => void = kernels[kernel];
    run(...args.map((arg, i) => ((relative >> i) & 1) * at + arg));
  };
  const counts = { stages: 0, tasks: 0, groups: 0 };
  const next = plan.stages(base);
  // Plan the next stage before running a stage, as a driver may.
  for (let stage = next(), after = next(); stage !== undefined; stage = after, after = next()) {
    for (const { address, words } of stage.tables) memory.i32.set(words, address / 4);
    for (const copy of stage.in) copyIn(runtime, copy);
    const left = new Map<Group, number>();
    for (const { group } of stage.tasks) if (group !== undefined) left.set(group, (left.get(group) ?? 0) + 1);
    for (const t of shuffled(stage.tasks.length, seed)) {
      const task = stage.tasks[t];
      if (task === undefined) continue;
      const at = scratch[(t * 7 + seed) % scratch.length] ?? 0;
      memory.u8.fill(0xff, at, at + plan.threadBytes);
      for (const kernelCall of task.calls) make(kernelCall, at);
      if (task.group === undefined) continue;
      const remaining = (left.get(task.group) ?? 0) - 1;
      left.set(task.group, remaining);
      if (remaining === 0) for (const kernelCall of task.group.calls) make(kernelCall, at);
    }
    for (const copy of stage.out) copyOut(runtime, copy);
    counts.stages++;
    counts.tasks += stage.tasks.length;
    counts.groups += left.size;
  }
  memory.release(mark);
  return { result: tensorsOf(outputs) as T, ...counts };
}
