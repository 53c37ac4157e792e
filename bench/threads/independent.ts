import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { type Variant, createInstance } from "../../src/testing.ts";
import { type ThreadCase, CASES } from "./cases.ts";

/** Workers that know nothing of each other, each with an instance of its own: what so many cores can do at best. */
export class Independent {
  readonly #workers: readonly Worker[];

  private constructor(workers: readonly Worker[]) {
    this.#workers = workers;
  }

  static async start(count: number, variant: Variant): Promise<Independent> {
    const workers = Array.from({ length: count }, () => new Worker(new URL(import.meta.url), { workerData: variant }));
    const independent = new Independent(workers);
    await independent.#answers();
    return independent;
  }

  /** Has all of them set up a case and call it once. */
  async prepare(c: ThreadCase): Promise<void> {
    for (const worker of this.#workers) worker.postMessage({ index: CASES.indexOf(c) });
    await this.#answers();
  }

  /** Has all of them make `repeats` calls at the same time; milliseconds until the last is done. */
  async run(repeats: number): Promise<number> {
    const begin = performance.now();
    for (const worker of this.#workers) worker.postMessage({ repeats });
    await this.#answers();
    return performance.now() - begin;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  #answers(): Promise<unknown> {
    return Promise.all(this.#workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
  }
}

if (!isMainThread) {
  const instance = createInstance(workerData as Variant);
  let call: () => unknown = () => undefined;
  parentPort?.on("message", ({ index, repeats = 1 }: { readonly index?: number; readonly repeats?: number }) => {
    if (index !== undefined) call = CASES[index]?.onInstance(instance) ?? call;
    for (let i = 0; i < repeats; i++) call();
    parentPort?.postMessage("done");
  });
  parentPort?.postMessage("ready");
}
