import { createCpu } from "../backend/wasm/drivers/create-cpu.ts";
import { parseCalibration } from "./calibration.ts";
import { Engine } from "./engine.ts";
import { EngineGpu } from "./engine-gpu.ts";
import type { EngineOptions } from "./types.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions, parseChoice } from "../errors/options.ts";

const ENGINE_OPTIONS = new Set(["device", "threads", "gpu", "variant", "calibration", "maxMemoryBytes", "workerUrl", "module"]);

export async function openEngine(options: EngineOptions = {}): Promise<Engine> {
  checkOptions(options, ENGINE_OPTIONS);
  const device = parseChoice("device", options.device, ["auto", "wasm", "webgpu"]);
  const calibration = options.calibration === undefined ? undefined : parseCalibration(options.calibration);
  if (options.gpu !== undefined && !isGpu(options.gpu)) throw new TypeError(`"gpu" expected a GPU or a GPUDevice, got ${describe(options.gpu)}`);
  const { variant, threads, maxMemoryBytes, workerUrl, module } = options;
  const cpu = await createCpu({ variant, threads, maxMemoryBytes, workerUrl, module });
  const gpu = new EngineGpu(device, options.gpu, calibration);
  try {
    await gpu.open(cpu);
  } catch (error) {
    cpu.dispose();
    throw error;
  }
  return new Engine(device, cpu, gpu);
}

function isGpu(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { requestAdapter, createBuffer } = value as { requestAdapter?: unknown; createBuffer?: unknown };
  return typeof requestAdapter === "function" || typeof createBuffer === "function";
}
