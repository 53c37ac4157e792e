// Runs in a worker: makes calls on one thread, by itself, whenever it is told to. Several of these are what the machine allows at most.
import { parentPort, workerData } from "node:worker_threads";
import { createInstance } from "../../src/testing/testing.ts";
import type { LoneTask } from "./lone-workers.ts";

const { op, operands, outShape, calls } = workerData as LoneTask;
const instance = createInstance();
const tensors = operands.map(({ data, shape }) => {
  const tensor = instance.empty(shape);
  tensor.data.set(data);
  return tensor;
});
const out = instance.empty(outShape);
const [a, b, c] = tensors;
if (a === undefined) throw new Error("a task has operands");

parentPort?.on("message", (wanted: "calls" | "result") => {
  if (wanted === "result") {
    parentPort?.postMessage(out.data.slice());
    return;
  }
  for (let i = 0; i < calls; i++) {
    if (op === "softmax") instance.softmax(a, { out });
    else instance.attention(a, b ?? a, c ?? a, { out });
  }
  parentPort?.postMessage(undefined);
});
parentPort?.postMessage(undefined);
