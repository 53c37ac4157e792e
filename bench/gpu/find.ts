import { findDevice } from "../../src/backend/webgpu/device/device.ts";
import type { GPULike } from "../../src/tensor/gpu-types.ts";

/** A GPU to measure, open for the engine and for plain WGSL at once. */
export interface FoundGpu {
  readonly device: GPUDevice;
  /** "NVIDIA H100 80GB HBM3", as the driver names it. */
  readonly name: string;
  /** "NVIDIA: 580.159.04 …", in the driver's words. */
  readonly driver: string;
  /** Whether it is software: figures then say that all works, and nothing about GPUs. */
  readonly emulated: boolean;
  readonly timestamps: boolean;
  /** Keeps Dawn's instance alive: without it the device is lost when garbage is collected. */
  readonly instance: unknown;
}

/**
 * Dawn's switches: time stamps as the GPU has them, and not in steps of 100 µs, which hinder only web pages that spy; and f16, which
 * Dawn hides on drivers of NVIDIA before 615.
 */
const DAWN_OPTIONS = ["disable-dawn-features=timestamp_quantization", "enable-dawn-features=vulkan_enable_f16_on_nvidia"];

/** Finds a GPU as the engine does, by the npm package `webgpu`, or says why there is none. */
export async function findGpu(): Promise<FoundGpu | { readonly unavailable: string }> {
  let gpu: GPU;
  try {
    const name = "webgpu";
    const { create } = (await import(name)) as { create: (options: readonly string[]) => GPU };
    gpu = create(DAWN_OPTIONS);
  } catch (error) {
    return { unavailable: `the package "webgpu" does not load: ${(error as Error).message.split("\n")[0]}` };
  }
  const found = await findDevice(stamped(gpu));
  if ("reason" in found) return { unavailable: found.reason };
  const { device } = found;
  const { vendor, architecture, device: name, description } = device.adapterInfo;
  return {
    device,
    name: [name, description, `${vendor} ${architecture}`].find((text) => text.trim() !== "") ?? "unnamed GPU",
    driver: description,
    emulated: device.adapterInfo.isFallbackAdapter,
    timestamps: device.features.has("timestamp-query"),
    instance: gpu,
  };
}

/** A GPU whose devices have time stamps as well, where it can give them. */
function stamped(gpu: GPU): GPULike {
  return {
    async requestAdapter() {
      const adapter = await gpu.requestAdapter();
      if (adapter?.features.has("timestamp-query") !== true) return adapter;
      const request = adapter.requestDevice.bind(adapter);
      adapter.requestDevice = (descriptor = {}) => request({ ...descriptor, requiredFeatures: [...(descriptor.requiredFeatures ?? []), "timestamp-query"] });
      return adapter;
    },
  };
}
