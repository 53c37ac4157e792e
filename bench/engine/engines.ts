import type { Calibration } from "../../src/engine/calibration.ts";
import { createEngine } from "../../src/engine/create-engine.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { type FoundGpu, findGpu } from "../gpu/find.ts";
import { type GpuLimits, measureGpu } from "../gpu/limits.ts";
import { GpuTimer } from "../gpu/timer.ts";

/** The engines that suites compare, on one machine. */
export interface Engines {
  /** The CPU, one thread. */
  readonly single: Engine;
  /** The CPU, one thread per core. */
  readonly all: Engine;
  /** Threads of `all`: less than cores where they could not be had. */
  readonly threads: number;
  /** Why there are no more threads. */
  readonly reasons: readonly string[];
  readonly gpu: GpuEngines | { readonly unavailable: string };
  dispose(): void;
}

/** Engines on a GPU, which share its device with plain WGSL. */
export interface GpuEngines extends FoundGpu {
  readonly engine: Engine;
  /** What `auto` chooses by. Absent on software, which it never chooses, and which takes minutes to calibrate. */
  readonly calibration: Calibration | undefined;
  readonly timer: GpuTimer;
  readonly limits: GpuLimits;
}

/** Opens engines on the CPU, and on the GPU if there is one. */
export async function openEngines(): Promise<Engines> {
  const single = await createEngine({ device: "wasm", threads: 1 });
  const all = await createEngine({ device: "wasm", threads: "auto" });
  const gpu = await openGpu();
  const { wasm, off } = all.info();
  return {
    single,
    all,
    threads: wasm.threads,
    reasons: off.filter((reason) => !reason.startsWith("WebGPU")),
    gpu,
    dispose() {
      single.dispose();
      all.dispose();
      if ("unavailable" in gpu) return;
      gpu.engine.dispose();
      gpu.timer.dispose();
      gpu.device.destroy();
    },
  };
}

async function openGpu(): Promise<Engines["gpu"]> {
  const found = await findGpu();
  if ("unavailable" in found) return found;
  const { device } = found;
  const timer = new GpuTimer(device);
  try {
    const limits = await measureGpu(found, timer);
    const engine = await createEngine({ device: "webgpu", gpu: device, threads: 1 });
    return { ...found, engine, calibration: found.emulated ? undefined : await calibrationOf(device), timer, limits };
  } catch (error) {
    timer.dispose();
    device.destroy();
    return { unavailable: error instanceof Error ? error.message : String(error) };
  }
}

/** Measured as an engine does when it is made, before anything else has been timed. */
async function calibrationOf(device: GPUDevice): Promise<Calibration | undefined> {
  const auto = await createEngine({ device: "auto", gpu: device });
  const { calibration } = auto;
  auto.dispose();
  return calibration;
}
