import { describe, messageOf } from "../../errors.ts";
import { Cpu } from "./cpu.ts";
import { EngineMemory, type EngineRuntime } from "./engine-memory.ts";
import type { Variant } from "./features.ts";
import { WorkerPool } from "./pool.ts";
import { type Runtime, chooseVariant, createRuntime } from "./runtime.ts";
import type { Tuning } from "./schedule.ts";
import { DEFAULT_MAXIMUM_BYTES } from "./shared-memory.ts";
import { type SharedRuntime, createSharedRuntime } from "./shared-runtime.ts";

/** More threads than this are not started unless asked for by number: these kernels are bound by memory before. */
const MOST_AUTOMATIC_THREADS = 16;

/** Options of {@link createCpu}. */
export interface CpuOptions {
  readonly variant?: Variant | undefined;
  /** Threads that compute: as many as there are processors, or a number. 1 starts no worker. */
  readonly threads?: "auto" | number | undefined;
  /** A compiled binary (onepass/wasm/…), for pages that may not compile bytes; threads need one of the `-shared` ones. */
  readonly module?: object | undefined;
  /** Where the package's worker script (onepass/worker) is served, for pages that may not run blobs. */
  readonly workerUrl?: string | { readonly href: string } | undefined;
  /** What shared memory may grow to. Default 1 GiB. */
  readonly maxMemoryBytes?: number | undefined;
  /** Which calls are shared and how they are cut; for tests. */
  readonly tuning?: Tuning;
}

/** Starts the CPU backend. It does not fail for want of threads: `threads` and `reasons` say what there is. */
export async function createCpu(options: CpuOptions = {}): Promise<Cpu> {
  const { threads: asked = "auto" } = options;
  if (asked !== "auto" && (!Number.isSafeInteger(asked) || asked < 1)) {
    throw new RangeError(`"threads" expected "auto" or a positive integer, got ${describe(asked)}`);
  }
  const threads = asked === "auto" ? Math.min(processors(), MOST_AUTOMATIC_THREADS) : asked;
  const variant = chooseVariant(options.variant);
  const reasons: string[] = [];
  const shared = threads > 1 ? await startThreads(variant, threads, options, reasons) : undefined;
  if (shared !== undefined) return new Cpu(shared.runtime, shared.pool, localRuntime(variant) ?? shared.runtime, reasons, options.tuning);
  const runtime = unsharedRuntime(variant, options.module);
  return new Cpu(runtime, await WorkerPool.create(runtime, { threads: 1, module: undefined, workerUrl: undefined }), runtime, reasons);
}

/** Processors that may be used. */
function processors(): number {
  const { navigator, process } = globalThis as {
    navigator?: { readonly hardwareConcurrency?: number };
    process?: { getBuiltinModule?: (name: string) => { readonly availableParallelism?: () => number } | undefined };
  };
  // First the one that knows of limits by container or affinity.
  return process?.getBuiltinModule?.("node:os")?.availableParallelism?.() ?? navigator?.hardwareConcurrency ?? 1;
}

/** Shared memory and workers, or undefined with the reason among `reasons`. */
async function startThreads(
  variant: Variant,
  threads: number,
  { module, workerUrl: url, maxMemoryBytes = DEFAULT_MAXIMUM_BYTES }: CpuOptions,
  reasons: string[],
): Promise<{ readonly runtime: SharedRuntime; readonly pool: WorkerPool } | undefined> {
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  if (crossOriginIsolated === false) {
    reasons.push("one thread: the page is not cross-origin isolated (it needs the headers COOP and COEP), so there is no shared memory");
    return undefined;
  }
  if (typeof SharedArrayBuffer === "undefined") {
    reasons.push("one thread: there is no SharedArrayBuffer here");
    return undefined;
  }
  let runtime: SharedRuntime;
  try {
    runtime = createSharedRuntime(variant, maxMemoryBytes, module);
  } catch (error) {
    const hint = module !== undefined && error instanceof WebAssembly.LinkError ? "the module is not one for shared memory (onepass/wasm/…-shared.wasm): " : "";
    reasons.push(`one thread: ${hint}${messageOf(error)}`);
    return undefined;
  }
  const workerUrl = typeof url === "object" ? url.href : url;
  const pool = await WorkerPool.create(runtime, { threads, module: runtime.module, workerUrl });
  if (pool.workers > 0) return { runtime, pool };
  reasons.push(...pool.reasons.map((reason) => `one thread: ${reason}`));
  await pool.dispose();
  return undefined;
}

/** A runtime of unshared memory for calls on the calling thread, if it can be had: copying into shared memory takes three times as long. */
function localRuntime(variant: Variant): Runtime | undefined {
  try {
    return createRuntime(variant);
  } catch {
    // Where bytes may not be compiled, the shared one does everything.
    return undefined;
  }
}

/** The runtime for one thread. A module for shared memory links to no other. */
function unsharedRuntime(variant: Variant, module: WebAssembly.Module | undefined): EngineRuntime {
  const memory = new EngineMemory();
  try {
    return { ...createRuntime(variant, memory, module), memory };
  } catch (error) {
    if (module === undefined || !(error instanceof WebAssembly.LinkError)) throw error;
  }
  return { ...createRuntime(variant, memory), memory };
}
