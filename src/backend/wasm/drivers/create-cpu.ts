import { BackendError, describe, messageOf } from "../../../errors/errors.ts";
import { kindOf } from "../../../tensor/tensor.ts";
import { Cpu } from "./cpu.ts";
import { EngineMemory, type EngineRuntime, LEAST_MEMORY_BYTES, limitsOf } from "../module/engine-memory.ts";
import { VARIANT_SECTION, type Variant } from "../module/features.ts";
import { WorkerPool } from "./pool.ts";
import { loadAll } from "../module/families.ts";
import { ROWS } from "../module/rows-family.ts";
import { Runtime, chooseVariant, createRuntime } from "../module/runtime.ts";
import type { Tuning } from "../plans/schedule.ts";
import { DEFAULT_MAXIMUM_BYTES } from "../module/shared-memory.ts";
import { createSharedRuntime } from "../module/shared-runtime.ts";

/** "auto" starts no more threads than this: memory limits these kernels before that. */
const MOST_AUTOMATIC_THREADS = 16;

/** Options of {@link createCpu}. */
export interface CpuOptions {
  readonly variant?: Variant | undefined;
  /** Threads that compute: "auto" for as many as there are processors, or a number. 1 starts no worker. */
  readonly threads?: "auto" | number | undefined;
  /** A compiled binary (onepass/wasm/…), for pages that may not compile bytes. Threads need one of the `-shared` ones. */
  readonly module?: object | undefined;
  /** Where the package's worker script (onepass/worker) is served, for pages that may not run blobs. */
  readonly workerUrl?: string | { readonly href: string } | undefined;
  /** How far the memory may grow, that of the threads or of the one thread. Default 1 GiB, or as far as possible. */
  readonly maxMemoryBytes?: number | undefined;
  /** Which calls are shared and how they are cut; for tests. */
  readonly tuning?: Tuning;
}

/** What a CPU starts with. */
interface Start {
  readonly variant: Variant;
  readonly threads: number;
  readonly module: WebAssembly.Module | undefined;
  readonly workerUrl: string | undefined;
  readonly maxMemoryBytes: number | undefined;
}

/**
 * Starts the CPU backend. A lack of threads is not an error: `threads` and `reasons` tell what there is.
 *
 * @throws TypeError or RangeError if an option is wrong, UnsupportedError if the variant cannot run here, BackendError if the module
 *   cannot be used and compiling one is not allowed
 */
export async function createCpu(options: CpuOptions = {}): Promise<Cpu> {
  const module = parseModule(options.module);
  const start: Start = {
    threads: parseThreads(options.threads),
    maxMemoryBytes: parseMemory(options.maxMemoryBytes),
    workerUrl: parseUrl(options.workerUrl),
    variant: module === undefined ? chooseVariant(options.variant) : variantOf(module, options.variant),
    module,
  };
  const reasons: string[] = [];
  const shared = start.threads > 1 ? await startThreads(start, reasons) : undefined;
  if (shared !== undefined) return new Cpu(shared.runtime, shared.pool, localRuntime(start.variant) ?? shared.runtime, reasons, options.tuning);
  const runtime = unsharedRuntime(start, reasons);
  return new Cpu(runtime, await WorkerPool.create(runtime, { threads: 1, shared: false, workerUrl: undefined }), runtime, reasons);
}

function parseThreads(value: unknown): number {
  if (value === undefined || value === "auto") return Math.min(processors(), MOST_AUTOMATIC_THREADS);
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value;
  const message = `"threads" expected "auto" or a positive integer, got ${describe(value)}`;
  throw typeof value === "number" || typeof value === "string" ? new RangeError(message) : new TypeError(message);
}

function parseMemory(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number") throw new TypeError(`"maxMemoryBytes" expected a number, got ${describe(value)}`);
  if (!Number.isSafeInteger(value) || value < LEAST_MEMORY_BYTES)
    throw new RangeError(`"maxMemoryBytes" expected an integer of at least ${LEAST_MEMORY_BYTES}, got ${value}`);
  return value;
}

function parseUrl(value: unknown): string | undefined {
  const url: unknown = typeof value === "object" ? (value as { readonly href?: unknown } | null)?.href : value;
  if (typeof url === "string" || value === undefined) return url as string | undefined;
  throw new TypeError(`"workerUrl" expected a string or a URL, got ${describe(value)}`);
}

function parseModule(value: unknown): WebAssembly.Module | undefined {
  // By its tag, since it may come from another realm.
  if (value === undefined || kindOf(value) === "WebAssembly.Module") return value as WebAssembly.Module | undefined;
  throw new TypeError(`"module" expected a WebAssembly.Module, got ${describe(value)}`);
}

/** The variant stored in a compiled binary. It must match the variant that the caller asks for, if any. */
function variantOf(module: WebAssembly.Module, asked: unknown): Variant {
  const [section] = WebAssembly.Module.customSections(module, VARIANT_SECTION);
  const variant = new TextDecoder().decode(section);
  if (variant !== "baseline" && variant !== "relaxed")
    throw new TypeError('"module" expected one of onepass/wasm/….wasm of this version of the package, got another module');
  if (asked !== undefined && asked !== variant) throw new RangeError(`"variant" expected "${variant}" as "module" is, got ${describe(asked)}`);
  return variant;
}

/** Number of processors that may be used. */
function processors(): number {
  const { navigator, process } = globalThis as {
    navigator?: { readonly hardwareConcurrency?: number };
    process?: { getBuiltinModule?: (name: string) => { readonly availableParallelism?: () => number } | undefined };
  };
  // First the one that knows of container and affinity limits.
  return process?.getBuiltinModule?.("node:os")?.availableParallelism?.() ?? navigator?.hardwareConcurrency ?? 1;
}

/** Shared memory and workers, or `undefined` with the reason added to `reasons`. */
async function startThreads(
  { variant, threads, module, workerUrl, maxMemoryBytes = DEFAULT_MAXIMUM_BYTES }: Start,
  reasons: string[],
): Promise<{ readonly runtime: EngineRuntime; readonly pool: WorkerPool } | undefined> {
  const { crossOriginIsolated } = globalThis as { crossOriginIsolated?: boolean };
  if (crossOriginIsolated === false) {
    reasons.push("one thread: the page is not cross-origin isolated (it needs the headers COOP and COEP), so there is no shared memory");
    return undefined;
  }
  if (typeof SharedArrayBuffer === "undefined") {
    reasons.push("one thread: there is no SharedArrayBuffer here");
    return undefined;
  }
  try {
    const runtime = createSharedRuntime(variant, maxMemoryBytes, module);
    const pool = await WorkerPool.create(runtime, { threads, shared: true, workerUrl });
    if (pool.workers > 0) return { runtime, pool };
    reasons.push(...pool.reasons.map((reason) => `one thread: ${reason}`));
    await pool.dispose();
  } catch (error) {
    const hint = module !== undefined && error instanceof WebAssembly.LinkError ? "the module is not one for shared memory (onepass/wasm/…-shared.wasm): " : "";
    reasons.push(`one thread: ${hint}${messageOf(error)}`);
  }
  return undefined;
}

/** A runtime with unshared memory for calls on the calling thread, if possible: copying into shared memory takes three times as long. */
function localRuntime(variant: Variant): Runtime | undefined {
  try {
    const runtime = createRuntime(variant);
    // The others are loaded when needed: if one may be compiled, all may.
    runtime.load(ROWS);
    return runtime;
  } catch {
    // If bytes may not be compiled, the shared runtime does everything.
    return undefined;
  }
}

/** The runtime for one thread. A module for shared memory cannot link to any other memory. */
function unsharedRuntime({ variant, module, maxMemoryBytes }: Start, reasons: string[]): EngineRuntime {
  const memory = new EngineMemory(maxMemoryBytes === undefined ? undefined : new WebAssembly.Memory(limitsOf(maxMemoryBytes)));
  try {
    return loadAll(new Runtime(variant, memory, module && (() => module)));
  } catch (error) {
    if (module === undefined || !(error instanceof WebAssembly.LinkError)) throw error;
  }
  const reason = '"module" is one for shared memory, which one thread does without';
  try {
    const runtime = loadAll(new Runtime(variant, memory));
    reasons.push(`${reason}: the same binary was compiled anew`);
    return runtime;
  } catch (error) {
    throw new BackendError(`${[...reasons, reason].join("; ")}, and nothing may be compiled: ${messageOf(error)}`, { cause: error });
  }
}
