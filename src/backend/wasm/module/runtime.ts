import { UnsupportedError, describe } from "../../../errors/errors.ts";
import { hasRelaxedSimd, hasSimd, type Variant } from "./features.ts";
import { type Family, binaryOf } from "./family.ts";
import { ModuleMemory } from "./memory.ts";

/** The module of a family's kernels. The same one for several families has the kernels of all of them. */
export type ModuleOf = (family: Family<unknown>) => WebAssembly.Module;

/** Kernels over one memory, which are loaded by families when first needed. */
export class Runtime<M extends ModuleMemory = ModuleMemory> {
  readonly variant: Variant;
  readonly memory: M;
  readonly #moduleOf: ModuleOf;
  readonly #instances = new Map<WebAssembly.Module, WebAssembly.Exports>();
  /** Kernels by the index of their family: found as fast as a property, as every call looks for some. */
  readonly #loaded: unknown[] = [];

  constructor(variant: Variant, memory: M, moduleOf: ModuleOf = (family) => new WebAssembly.Module(binaryOf(family, variant))) {
    this.variant = variant;
    this.memory = memory;
    this.#moduleOf = moduleOf;
  }

  /** What has been loaded: the modules with their exports, in the order of loading. */
  get instances(): ReadonlyMap<WebAssembly.Module, WebAssembly.Exports> {
    return this.#instances;
  }

  /** The kernels of a family. The first time it is compiled and instantiated, synchronously: about a millisecond. */
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

/** A runtime with memory of its own. Without `variant` the fastest that runs here. */
export function createRuntime(variant: Variant = chooseVariant()): Runtime {
  return new Runtime(variant, new ModuleMemory());
}

let shared: Runtime | undefined;

/** The runtime behind the plain functions, made on first use. */
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

/** What the environment asks for. Reading it throws in Deno without `--allow-env`, where softmax has to work all the same. */
function forcedVariant(): string | undefined {
  try {
    return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.["ONEPASS_WASM"];
  } catch {
    return undefined;
  }
}
