import { createEngine, type Engine, type GPULike } from "../../src/index.ts";
import { measureGpu, type GpuLimits } from "../gpu/limits.ts";
import { GpuTimer } from "../gpu/timer.ts";

/** The engines that suites compare, on one machine. */
export interface Engines {
  /** The CPU, one thread. */
  readonly single: Engine;
  /** The CPU, one thread per core. */
  readonly all: Engine;
  /** Threads of `all`: fewer than cores where they could not be had. */
  readonly threads: number;
  /** Why there are no more threads. */
  readonly reasons: readonly string[];
  readonly gpu: GpuEngines | { readonly unavailable: string };
  dispose(): void;
}

/** Engines on a GPU, which share its device with plain WGSL. */
export interface GpuEngines {
  readonly engine: Engine;
  readonly device: GPUDevice;
  /** Chooses the device of each call. Absent on software, which it never chooses, and which takes minutes to calibrate. */
  readonly auto: Engine | undefined;
  readonly timer: GpuTimer;
  readonly limits: GpuLimits;
  /** "NVIDIA H100 80GB HBM3", as the driver names it. */
  readonly name: string;
  /** "NVIDIA: 580.159.04 …", in the driver's words. */
  readonly driver: string;
  /** Whether it is software: figures then say that all works, and nothing about GPUs. */
  readonly emulated: boolean;
}

/** Opens engines on the CPU, and on the GPU if there is one. */
export async function openEngines(): Promise<Engines> {
  const single = await createEngine({ device: "wasm", threads: 1 });
  const all = await createEngine({ device: "wasm", threads: "auto" });
  const gpu = await openGpu().catch((error: unknown) => ({ unavailable: error instanceof Error ? error.message : String(error) }));
  const { wasm, off } = all.info();
  return {
    single,
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

async function openGpu(): Promise<GpuEngines> {
  const { create } = await import("webgpu");
  const engine = await createEngine({ device: "webgpu", gpu: withTimeStamps(create(DAWN_OPTIONS)), threads: 1 });
  try {
    const device = engine.device as GPUDevice;
    const { vendor, architecture, device: name, description, isFallbackAdapter: emulated } = device.adapterInfo;
    const timer = new GpuTimer(device);
    const limits = await measureGpu(device, timer, emulated);
    // Calibrates as every engine does, before anything else has been timed.
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
