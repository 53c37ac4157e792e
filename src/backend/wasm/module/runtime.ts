import { UnsupportedError, describe } from "../../../errors/errors.ts";
import { hasRelaxedSimd, hasSimd, type Variant } from "./features.ts";
import { type Family, binaryOf } from "./family.ts";
import { ModuleMemory } from "./memory.ts";

/** Gives the module with a family's kernels. If it gives one module for several families, that module has all their kernels. */
export type ModuleOf = (family: Family<unknown>) => WebAssembly.Module;

/** Kernels over one memory. Families are loaded when first needed. */
export class Runtime<M extends ModuleMemory = ModuleMemory> {
  readonly variant: Variant;
  readonly memory: M;
  readonly #moduleOf: ModuleOf;
  readonly #instances = new Map<WebAssembly.Module, WebAssembly.Exports>();
  /** Kernels by the index of their family: as fast to find as a property, since every call looks some up. */
  readonly #loaded: unknown[] = [];

  constructor(variant: Variant, memory: M, moduleOf: ModuleOf = (family) => new WebAssembly.Module(binaryOf(family, variant))) {
    this.variant = variant;
    this.memory = memory;
    this.#moduleOf = moduleOf;
  }

  /** What has been loaded: modules with their exports, in the order of loading. */
  get instances(): ReadonlyMap<WebAssembly.Module, WebAssembly.Exports> {
    return this.#instances;
  }

  /** The kernels of a family. The first call compiles and instantiates it synchronously, in about a millisecond. */
  load<K>(family: Family<K>): K {
    return (this.#loaded[family.binaries.index] ?? this.#instantiate(family)) as K;
  }

  #instantiate<K>(family: Family<K>): K {
    const module = this.#moduleOf(family);
    const exports = this.#instances.get(module) ?? new WebAssembly.Instance(module, { env: { memory: this.memory.memory } }).exports;
    this.#instances.set(module, exports);
    const kernels = family.kernelsOf(exports);
    this.#loaded[family.binaries.index] = kernels;
    return kernels;
  }
}

/** A runtime with its own memory. Without `variant`, the fastest that runs here. */
export function createRuntime(variant: Variant = chooseVariant()): Runtime {
  return new Runtime(variant, new ModuleMemory());
}

let shared: Runtime | undefined;

/** The runtime of the plain functions, created on first use. */
export function defaultRuntime(): Runtime {
  return (shared ??= createRuntime());
}

/** The variant that a caller or the environment asks for, else the fastest that runs here. */
export function chooseVariant(asked?: Variant): Variant {
  if (!hasSimd()) throw new UnsupportedError("this JavaScript engine has no WebAssembly SIMD");
  const forced = asked ?? forcedVariant();
  const name = asked === undefined ? "ONEPASS_WASM" : "variant";
  if (forced === undefined || forced === "") return hasRelaxedSimd() ? "relaxed" : "baseline";
  if (forced !== "baseline" && forced !== "relaxed") throw new RangeError(`"${name}" expected "baseline" or "relaxed", got ${describe(forced)}`);
  if (forced === "relaxed" && !hasRelaxedSimd()) throw new UnsupportedError(`"${name}" asks for relaxed SIMD, which this JavaScript engine lacks`);
  return forced;
}

/** What the environment asks for. Reading it throws in Deno without `--allow-env`, where softmax must still work. */
function forcedVariant(): string | undefined {
  try {
    return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.["ONEPASS_WASM"];
  } catch {
    return undefined;
  }
}
