// Runs in a worker: makes calls on one thread, by itself, whenever it is told to. Several of these are what the machine allows at most.
import { parentPort, workerData } from "node:worker_threads";
import { createInstance } from "../../src/testing/testing.ts";
import type { LoneTask } from "./lone-workers.ts";
import { inMemory } from "./onepass.ts";

const { problem, calls } = workerData as LoneTask;
const runner = inMemory(createInstance(), problem);

parentPort?.on("message", (wanted: "calls" | "result") => {
  if (wanted === "calls") for (let i = 0; i < calls; i++) runner.run();
  parentPort?.postMessage(wanted === "result" ? runner.read() : undefined);
});
parentPort?.postMessage(undefined);
