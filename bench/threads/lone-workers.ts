import { once } from "node:events";
import { Worker } from "node:worker_threads";

/** What a lone worker does each time it is told to. */
export interface LoneTask {
  readonly op: "softmax" | "attention";
  readonly operands: readonly { readonly data: Float32Array; readonly shape: readonly number[] }[];
  readonly outShape: readonly number[];
  /** Calls each time: enough that the message is a small part of them. */
  readonly calls: number;
}

/** Independent single-thread workers, each with operands and a binary of its own. */
export interface LoneWorkers {
  /** All of them make their calls; done when the last is. */
  run(): Promise<void>;
  /** What the last call of the last worker gave. */
  read(): Promise<Float32Array>;
  dispose(): void;
}

/** Starts `count` workers on the same task. */
export async function startLoneWorkers(count: number, task: LoneTask): Promise<LoneWorkers> {
  const workers = Array.from({ length: count }, () => new Worker(new URL("lone-worker.ts", import.meta.url), { workerData: task }));
  const answers = (): Promise<unknown> => Promise.all(workers.map((worker) => once(worker, "message")));
  await answers();
  return {
    async run() {
      const done = answers();
      for (const worker of workers) worker.postMessage("calls");
      await done;
    },
    async read() {
      const worker = workers.at(-1);
      if (worker === undefined) return new Float32Array(0);
      const answer = once(worker, "message") as Promise<[Float32Array]>;
      worker.postMessage("result");
      return (await answer)[0];
    },
    dispose() {
      for (const worker of workers) void worker.terminate();
    },
  };
}
