import { createEngine, type GPULike } from "../../src/index.ts";
import { measureGpu } from "../gpu/limits.ts";
import { GpuTimer } from "../gpu/timer.ts";

/** The engines that suites compare, on one machine. */
export type Engines = Awaited<ReturnType<typeof openEngines>>;

/** Engines on a GPU, which share its device with plain WGSL. */
export type GpuEngines = Awaited<ReturnType<typeof openGpu>>;

/** Opens engines on the CPU, and on the GPU if there is one. */
export async function openEngines() {
  const single = await createEngine({ device: "wasm", threads: 1 });
  const all = await createEngine({ device: "wasm", threads: "auto" });
  const gpu = await openGpu().catch((error: unknown) => ({ unavailable: error instanceof Error ? error.message : String(error) }));
  const { wasm, off } = all.info();
  return {
    single,
    /** One thread per core, or as many as could be had; `reasons` say why not more. */
    all,
    threads: wasm.threads,
    reasons: off.filter((reason) => !reason.startsWith("WebGPU")),
    gpu,
    dispose() {
      const { auto, engine, timer } = "unavailable" in gpu ? {} : gpu;
      timer?.dispose();
      for (const each of [single, all, auto, engine]) each?.dispose();
    },
  };
}

/**
 * Dawn's switches: time stamps as the GPU has them, and not in steps of 100 µs, which hinder only web pages that spy; and f16, which
 * Dawn hides on drivers of NVIDIA before 615.
 */
const DAWN_OPTIONS = ["disable-dawn-features=timestamp_quantization", "enable-dawn-features=vulkan_enable_f16_on_nvidia"];

async function openGpu() {
  const { create } = await import("webgpu");
  const engine = await createEngine({ device: "webgpu", gpu: withTimeStamps(create(DAWN_OPTIONS)), threads: 1 });
  try {
    const device = engine.device as GPUDevice;
    const { vendor, architecture, device: name, description, isFallbackAdapter: emulated } = device.adapterInfo;
    const timer = new GpuTimer(device);
    const limits = await measureGpu(device, timer, emulated);
    // Calibrates as every engine does, before anything else has been timed. It never chooses software, and takes minutes to calibrate on it.
    const auto = emulated ? undefined : await createEngine({ device: "auto", gpu: device });
    const named = [name, description, `${vendor} ${architecture}`].find((text) => text.trim() !== "") ?? "unnamed GPU";
    return { engine, device, auto, timer, limits, name: named, driver: description, emulated };
  } catch (error) {
    engine.dispose();
    throw error;
  }
}

/** A GPU whose devices have time stamps as well, where it can give them. */
function withTimeStamps(gpu: GPU): GPULike {
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
