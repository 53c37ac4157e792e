import { createRequire } from "node:module";
import type * as WorkerThreads from "node:worker_threads";

// The pool reads the class from the module object each time it starts a worker, so a test can intercept it.
const threads = createRequire(import.meta.url)("node:worker_threads") as { Worker: typeof WorkerThreads.Worker };

/** Knows all workers started since it was created, until `restore`. */
export class WorkerSpy {
  readonly started: WorkerThreads.Worker[] = [];
  readonly #original = threads.Worker;
  #exited = 0;
  /** If set, starting a worker throws it. */
  refusal: Error | undefined;
  /** If set, sending a worker a message throws it. */
  unsendable: Error | undefined;
  /** If set, workers run this instead of their script. */
  script: string | undefined;

  constructor() {
    const add = (worker: WorkerThreads.Worker): void => {
      this.started.push(worker);
      worker.on("exit", () => this.#exited++);
    };
    const wishes = (): Pick<WorkerSpy, "refusal" | "unsendable" | "script"> => this;
    threads.Worker = class extends this.#original {
      constructor(source: string | URL, options?: WorkerThreads.WorkerOptions) {
        const { refusal, script } = wishes();
        if (refusal !== undefined) throw refusal;
        super(script ?? source, options);
        add(this);
      }

      override postMessage(...args: Parameters<WorkerThreads.Worker["postMessage"]>): void {
        const { unsendable } = wishes();
        if (unsendable !== undefined) throw unsendable;
        super.postMessage(...args);
      }
    };
  }

  /** Workers that have started and not ended. */
  get alive(): number {
    return this.started.length - this.#exited;
  }

  /** Ends the `n`th worker started, as if it had crashed. */
  async kill(n: number): Promise<void> {
    await this.started.at(n)?.terminate();
  }

  restore(): void {
    threads.Worker = this.#original;
  }
}
