import { describe } from "../../../errors/errors.ts";
import type { GPUDeviceLike, GPULike } from "../../../tensor/gpu-types.ts";
import { type DeviceTraits, traitsOf } from "./traits.ts";

/** A device to compute on, and what is known about it. */
export interface FoundDevice {
  readonly device: GPUDevice;
  /** Whether it was created here, and so is ours to destroy. */
  readonly owned: boolean;
  /** Kept because Dawn for Node stops working when the object that the device came from is garbage-collected. */
  readonly gpu: GPU | undefined;
  readonly traits: DeviceTraits;
  readonly info: AdapterInfo;
}

/** What the GPU reports about itself, and what it cannot do. */
export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly description: string;
  /** Whether it is emulated in software. */
  readonly isFallback: boolean;
  /** Why something is off, in words; empty when everything is on. */
  readonly reasons: readonly string[];
}

/** Why there is no device. */
export interface NoDevice {
  readonly reason: string;
}

/** Limits that decide tile shapes and tensor sizes. Each is requested at the maximum of the adapter. */
const LIMITS = [
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxStorageBuffersPerShaderStage",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** Optional features used here, and what happens without them. */
const FEATURES = [
  ["subgroups", "reductions go through workgroup memory"],
  ["shader-f16", "f16 is read with unpack2x16float"],
] as const satisfies readonly (readonly [GPUFeatureName, string])[];

/**
 * Finds a GPU: the one given, the platform's `navigator.gpu`, or the `webgpu` package in Node. A given device is used as it is.
 *
 * @param given - a GPU or a GPUDevice; undefined to look for one
 * @param load - imports the package; tests pass their own
 * @returns the device, or the reason why there is none
 * @throws TypeError if `given` is neither
 */
export async function findDevice(given?: GPULike | GPUDeviceLike, load: () => Promise<unknown> = importPackage): Promise<FoundDevice | NoDevice> {
  if (given !== undefined) {
    if (isDevice(given)) return found(given, false, undefined);
    if (!isGpu(given)) throw new TypeError(`"gpu" expected a GPU or a GPUDevice, got ${describe(given)}`);
    return fromGpu(given);
  }
  // In Node, and on pages outside a secure context, `navigator` exists but has no GPU.
  const own = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (own !== undefined) return fromGpu(own);
  if ((globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node === undefined)
    return { reason: "this platform has no navigator.gpu (browsers have it in secure contexts only)" };
  const gpu = await fromPackage(load);
  return "reason" in gpu ? gpu : fromGpu(gpu);
}

let packageGpu: GPU | undefined;

/** The GPU of the `webgpu` package, made once because each one loads the drivers anew. */
async function fromPackage(load: () => Promise<unknown>): Promise<GPU | NoDevice> {
  if (packageGpu !== undefined) return packageGpu;
  try {
    const { create } = (await load()) as { create: (options: string[]) => GPU };
    return (packageGpu = create([]));
  } catch (error) {
    const { code, message } = error as { code?: string; message?: string };
    const missing = code === "ERR_MODULE_NOT_FOUND" && message?.includes("webgpu") === true;
    return { reason: missing ? 'the package "webgpu" is not installed' : `the package "webgpu" does not load: ${message ?? String(error)}` };
  }
}

/** The variable specifier and the comments keep bundlers from resolving, or warning about, a package that may not be installed. */
function importPackage(): Promise<unknown> {
  const name = "webgpu";
  return import(/* webpackIgnore: true */ /* @vite-ignore */ name);
}

async function fromGpu(gpu: GPU): Promise<FoundDevice | NoDevice> {
  try {
    const adapter = await gpu.requestAdapter();
    if (adapter === null) return { reason: "no adapter: the platform offers no GPU" };
    const requiredLimits: Record<string, number> = {};
    for (const name of LIMITS) requiredLimits[name] = adapter.limits[name];
    const requiredFeatures = FEATURES.map(([name]) => name).filter((name) => adapter.features.has(name));
    return found(await adapter.requestDevice({ label: "onepass", requiredLimits, requiredFeatures }), true, gpu, adapter);
  } catch (error) {
    return { reason: `no device: ${error instanceof Error ? error.message : String(error)}` };
  }
}

function found(device: GPUDevice, owned: boolean, gpu: GPU | undefined, adapter?: GPUAdapter): FoundDevice {
  // Older platforms have `adapter.info` and `adapter.isFallbackAdapter` instead of `device.adapterInfo` and `info.isFallbackAdapter`.
  const info = (device.adapterInfo as Partial<GPUAdapterInfo> | undefined) ?? adapter?.info ?? {};
  return {
    device,
    owned,
    gpu,
    traits: traitsOf(device, info),
    info: {
      vendor: info.vendor ?? "",
      architecture: info.architecture ?? "",
      description: info.description ?? "",
      isFallback: info.isFallbackAdapter ?? (adapter as { isFallbackAdapter?: boolean } | undefined)?.isFallbackAdapter ?? false,
      reasons: FEATURES.filter(([name]) => !device.features.has(name)).map(([name, without]) => `no ${name}: ${without}`),
    },
  };
}

function isDevice(value: object): value is GPUDevice {
  return typeof (value as { createBuffer?: unknown }).createBuffer === "function";
}

function isGpu(value: object): value is GPU {
  return typeof (value as { requestAdapter?: unknown }).requestAdapter === "function";
}
