import type { WorkerMessage, WorkerStart } from "./control.ts";
import { WORKER_SOURCE } from "../generated/worker-source.ts";

/** What a worker's owner learns about it. */
export interface WorkerEvents {
  message(message: WorkerMessage): void;
  /** The worker is gone, or never started. Not called after `terminate`. */
  gone(reason: string): void;
}

/** A worker, from `node:worker_threads` or in a browser. */
export interface WorkerThread {
  post(start: WorkerStart): void;
  /** Whether the process must stay alive for it. */
  keepAlive(keep: boolean): void;
  terminate(): Promise<void>;
}

/** The part of `node:worker_threads` that is needed; Bun and Deno have it too. */
interface NodeWorkerThreads {
  readonly Worker: new (source: string | URL, options: object) => NodeWorker;
}

interface NodeWorker {
  on(event: "message", listener: (message: WorkerMessage) => void): void;
  on(event: "error", listener: (error: unknown) => void): void;
  on(event: "exit", listener: (code: number) => void): void;
  postMessage(message: unknown): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<number>;
}

/**
 * Starts a worker with the inlined script, or with the one at `url`.
 *
 * @throws whatever the platform throws if it forbids workers
 */
export function startWorker(url: string | undefined, events: WorkerEvents): WorkerThread {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const threads = process?.getBuiltinModule?.("node:worker_threads") as NodeWorkerThreads | undefined;
  if (threads !== undefined) return startNodeWorker(threads, url, events);
  if (typeof Worker === "undefined") throw new Error("there are no workers here");
  return startWebWorker(url, events);
}

function startNodeWorker({ Worker }: NodeWorkerThreads, url: string | undefined, events: WorkerEvents): WorkerThread {
  // Without this process's flags: a loader would only slow the start.
  const options = { name: "onepass", execArgv: [] };
  const worker = url === undefined ? new Worker(WORKER_SOURCE, { ...options, eval: true }) : new Worker(fileOrUrl(url), options);
  let reason = "";
  let ended = false;
  worker.on("message", (message) => events.message(message));
  worker.on("error", (error) => {
    reason = error instanceof Error ? error.message : String(error);
  });
  worker.on("exit", (code) => {
    if (!ended) events.gone(reason === "" ? `a worker exited with code ${code}` : reason);
    ended = true;
  });
  return {
    post: (start) => worker.postMessage(start),
    keepAlive: (keep) => (keep ? worker.ref() : worker.unref()),
    terminate: async () => {
      ended = true;
      await worker.terminate();
    },
  };
}

/** `worker_threads` takes paths and URL objects, but not URLs as strings. */
function fileOrUrl(url: string): string | URL {
  return /^[a-z]{2,}:/i.test(url) ? new URL(url) : url;
}

function startWebWorker(url: string | undefined, events: WorkerEvents): WorkerThread {
  const blob = url === undefined ? URL.createObjectURL(new Blob([WORKER_SOURCE], { type: "text/javascript" })) : undefined;
  let worker: Worker;
  try {
    worker = new Worker(blob ?? url ?? "", { type: "module", name: "onepass" });
  } catch (error) {
    if (blob !== undefined) URL.revokeObjectURL(blob);
    throw error;
  }
  let ended = false;
  const release = (): void => {
    if (blob !== undefined) URL.revokeObjectURL(blob);
  };
  worker.onmessage = ({ data }) => {
    // Not earlier: the script is fetched after the constructor has returned.
    release();
    events.message(data as WorkerMessage);
  };
  worker.onerror = (event) => {
    release();
    event.preventDefault();
    if (ended) return;
    ended = true;
    worker.terminate();
    // If the script may not be loaded, the event has no message.
    events.gone((event as { message?: string }).message ?? "the worker's script could not be loaded (a content security policy?)");
  };
  return {
    post: (start) => worker.postMessage(start),
    keepAlive: () => undefined,
    terminate: () => {
      ended = true;
      release();
      worker.terminate();
      return Promise.resolve();
    },
  };
}
