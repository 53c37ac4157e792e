import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Runner } from "../measure/contender.ts";
import type { Problem } from "../measure/problem.ts";

/** What a lone worker does each time it is told to. */
export interface LoneTask {
  readonly problem: Problem;
  /** Calls each time: enough that the message is a small part of them. */
  readonly calls: number;
}

/** Starts independent single-thread workers, each with operands and a binary of its own, which all make the same calls at the same time. */
export async function startLoneWorkers(count: number, task: LoneTask): Promise<Runner> {
  const workers = Array.from({ length: count }, () => new Worker(new URL("lone-worker.ts", import.meta.url), { workerData: task }));
  const answers = (): Promise<unknown[]> => Promise.all(workers.map(async (worker) => ((await once(worker, "message")) as unknown[])[0]));
  const ask = (wanted: "calls" | "result"): Promise<unknown[]> => {
    const done = answers();
    for (const worker of workers) worker.postMessage(wanted);
    return done;
  };
  await answers();
  return {
    run: () => ask("calls"),
    async time() {
      const before = performance.now();
      await ask("calls");
      return (performance.now() - before) / task.calls;
    },
    read: async () => (await ask("result")).at(-1) as Float32Array,
    dispose() {
      for (const worker of workers) void worker.terminate();
    },
  };
}
