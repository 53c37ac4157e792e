// The worker's script. It knows kernels only by number, not what they compute. scripts/build.ts bundles it, for
// src/backend/wasm/generated/worker-source.ts and for the package's "./worker".
import { ASLEEP, IDLE, JOB, LISTENING, STOP, type WorkerMessage, type WorkerStart, stateOf } from "./control.ts";
import { Executor } from "./executor.ts";

/** How long a worker spins for the next job before it sleeps. Waking it costs its caller 15 µs and takes another 40. */
const SPIN_MS = 0.1;

/** The other end: `parentPort` if there is one (Node, Bun, Deno), else the worker's global object. */
interface Port {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onmessageerror: (() => void) | null;
  postMessage(message: WorkerMessage): void;
}

const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => { readonly parentPort?: Port | null } | undefined } };
const port = process?.getBuiltinModule?.("node:worker_threads")?.parentPort ?? (globalThis as unknown as Port);

// Memory cannot be shared with another origin or process.
port.onmessageerror = () => port.postMessage({ kind: "failed", reason: "the modules or the memory could not be sent to it" });

port.onmessage = ({ data }) => {
  port.onmessage = null;
  try {
    serve(data as WorkerStart);
  } catch (error) {
    port.postMessage({ kind: "failed", reason: describe(error) });
  }
};

/** Does its part of every job until it is told to stop; never returns to the event loop in between. */
function serve({ modules, memory, control: controlAt, thread }: WorkerStart): void {
  const binaries = modules.map((module) => new WebAssembly.Instance(module, { env: { memory } }).exports);
  const executor = new Executor(memory, binaries, controlAt, thread);
  const { control } = executor;
  // There is no job 0. A job already in progress may still have tickets.
  let seen = 0;
  port.postMessage({ kind: "ready" });
  for (;;) {
    seen = nextJob(control, thread, seen);
    if (Atomics.load(control, STOP) === 1) return;
    try {
      executor.work(seen);
    } catch (error) {
      port.postMessage({ kind: "failed", reason: describe(error), job: seen });
    }
    if (Atomics.load(control, LISTENING) === 1) port.postMessage({ kind: "left" });
  }
}

/** Waits until the current job's number differs from `seen`, and returns it. */
function nextJob(control: Int32Array, thread: number, seen: number): number {
  const until = performance.now() + SPIN_MS;
  for (;;) {
    const job = Atomics.load(control, JOB);
    if (job !== seen) return job;
    if (performance.now() < until) continue;
    Atomics.store(control, stateOf(thread), ASLEEP);
    Atomics.wait(control, JOB, seen);
    Atomics.store(control, stateOf(thread), IDLE);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
