import { UnsupportedError, describe } from "../../../errors/errors.ts";
import { hasRelaxedSimd, hasSimd, type Variant } from "./features.ts";
import { BINARIES, TABLE } from "../generated/binaries.ts";
import { decode } from "./inlined.ts";
import type { Kernels } from "./kernels.ts";
import { ModuleMemory } from "./memory.ts";

/** One instance of the kernels with its memory. */
export interface Runtime {
  readonly variant: Variant;
  readonly kernels: Kernels;
  readonly memory: ModuleMemory;
}

/** Compiles and instantiates a binary, synchronously: about a millisecond. Without `variant` the fastest that runs here. */
export function createRuntime(variant: Variant = chooseVariant(), memory = new ModuleMemory(), module = new WebAssembly.Module(binaryOf(variant))): Runtime {
  const instance = new WebAssembly.Instance(module, { env: { memory: memory.memory } });
  return { variant, kernels: instance.exports as unknown as Kernels, memory };
}

let shared: Runtime | undefined;

/** The instance behind the plain functions, made on first use. */
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

/** The bytes of one of the two inlined binaries, whose pieces alternate. */
export function binaryOf(variant: Variant): Uint8Array<ArrayBuffer> {
  return decode(BINARIES.filter((_, i) => i % 2 === (variant === "baseline" ? 0 : 1)).join(""), TABLE);
}
