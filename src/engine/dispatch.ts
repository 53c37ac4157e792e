import type { Calibration, ParallelRate } from "./calibration.ts";
import { BackendError, UnsupportedError } from "../errors/errors.ts";
import type { Work } from "../calls/work.ts";

/** Where a call runs. */
export type Device = "wasm" | "webgpu";

/** What an engine knows when it decides where a call runs. */
export interface DispatchState {
  /** What the engine was created with. */
  readonly device: "auto" | Device;
  readonly gpu: GpuState;
  /** Rates of this machine, needed if there is a choice. */
  readonly calibration: Calibration | undefined;
}

/** Whether a GPU is usable, and if not, why. */
export type GpuState =
  | {
      readonly usable: true;
      /** The largest buffer that the device allows. */
      readonly maxBufferBytes: number;
      /** The longest range of a buffer that a shader can see, wherever it begins. */
      readonly maxSpanBytes: number;
    }
  | { readonly usable: false; /** Follows "WebGPU is off: ". */ readonly reason: string; readonly lost: boolean };

/** Estimated seconds of a call on the CPU, by part. */
export interface CpuEstimate {
  /** The sum of the parts. */
  readonly seconds: number;
  /** The fixed cost of every call. */
  readonly call: number;
  /** Computing. */
  readonly compute: number;
  /** Writing the result into new memory. */
  readonly result: number;
}

/** The same on the GPU. Parts that a call lacks are 0: operands and results that stay on the GPU are not sent or read back. */
export interface GpuEstimate {
  /** The sum of the parts. */
  readonly seconds: number;
  /** Recording and submitting. */
  readonly submit: number;
  /** Sending operands. */
  readonly upload: number;
  /** Computing. */
  readonly compute: number;
  /** Reading the result back. */
  readonly readback: number;
}

/** Where a call runs, and why. */
export interface Decision {
  /** The device that runs the call. */
  readonly device: Device;
  /** For people to read: "webgpu: 0.80 ms estimated against 5.1 ms on the CPU (submit 20 µs, upload 0.30 ms, compute 0.20 ms, readback 0.28 ms)". */
  readonly reason: string;
  /** `undefined` without a calibration. */
  readonly estimates:
    | {
        /** On the CPU. */
        readonly wasm: CpuEstimate;
        /** On the GPU. */
        readonly webgpu: GpuEstimate;
      }
    | undefined;
}

/**
 * The cost of waking the threads and waiting for the last of them. Not measured: it only matters for calls of about 50 µs, where a GPU's
 * round trip cannot win.
 */
const WAKE_SECONDS = 15e-6;

/**
 * How many times faster operands are copied into module memory than results are written, which also touches new pages. Measured on a server
 * core: keys of 1 to 32 MiB at 6 to 9 GB/s, results of 4 MiB (`resultBytesPerSecond`) at 2 GB/s.
 */
const COPY_RATE = 4;

/** The smallest share of a call's time that counts as computing. The rates include copies, so subtracting the copies must not leave less. */
const LEAST_COMPUTE = 0.1;

/** Seconds of a call on the CPU: on one thread, or on all of them if that is faster. */
export function estimateCpu(work: Work, { cpu }: Calibration): CpuEstimate {
  const rows = cpuSeconds(work.rowElements, cpu.rowElementsPerSecond, work.parts.cpu);
  const scores = Math.max(cpuSeconds(work.flops, cpu.flopsPerSecond, work.parts.cpu), cpuSeconds(work.keyBytes, cpu.decodeBytesPerSecond, work.parts.cpu));
  // The rates include copying operands from the caller's arrays. Operands in module memory are not copied.
  const inModule = work.operands.reduce((sum, { place, bytes }) => sum + (place === "module" ? bytes : 0), 0);
  const spared = inModule / (COPY_RATE * cpu.resultBytesPerSecond);
  const compute = Math.max(rows + scores - spared, LEAST_COMPUTE * (rows + scores));
  const result = work.resultPlace === "module" ? 0 : work.bytesOut / cpu.resultBytesPerSecond;
  return { seconds: cpu.callSeconds + compute + result, call: cpu.callSeconds, compute, result };
}

function cpuSeconds(amount: number, rate: ParallelRate, parts: number): number {
  return Math.min(amount / Math.min(rate.alone, rate.all), WAKE_SECONDS + amount / Math.min(rate.all, parts * rate.alone));
}

/** Seconds of a call on the GPU, from the caller's arrays until the caller has the result. */
export function estimateGpu(work: Work, { gpu }: Calibration): GpuEstimate {
  const compute =
    work.rowBytes / gpu.rowBytesPerSecond +
    Math.max(work.flops / Math.min(gpu.flopsPerSecond.all, work.parts.gpu * gpu.flopsPerSecond.alone), work.keyBytes / gpu.decodeBytesPerSecond);
  const upload = work.bytesIn / gpu.uploadBytesPerSecond;
  const readback = work.resultPlace === "gpu" ? 0 : gpu.readbackSeconds + work.bytesOut / gpu.downloadBytesPerSecond;
  return { seconds: gpu.submitSeconds + upload + compute + readback, submit: gpu.submitSeconds, upload, compute, readback };
}

/**
 * Decides where a call runs: on the only device that can take it, or else where it is estimated to finish sooner. The choice never changes
 * the precision.
 *
 * @throws UnsupportedError if no device of the engine can compute the call, BackendError if the device that holds its operands is lost
 */
export function decide(work: Work, state: DispatchState): Decision {
  const estimates = state.calibration === undefined ? undefined : { wasm: estimateCpu(work, state.calibration), webgpu: estimateGpu(work, state.calibration) };
  const forced = constraint(work, state);
  if (forced !== undefined) return { device: forced.device, reason: `${forced.device}: ${forced.because}`, estimates };
  if (estimates === undefined) return { device: "wasm", reason: "wasm: the machine has not been calibrated", estimates };
  const device = estimates.webgpu.seconds < estimates.wasm.seconds ? "webgpu" : "wasm";
  return {
    device,
    // Built only on request: a call of a microsecond should not pay for formatting text.
    get reason() {
      return reasonOf(device, estimates);
    },
    estimates,
  };
}

/** What has no kernels for GPUs. Operands in GPU buffers are downloaded. */
const CPU_KERNELS: Readonly<Partial<Record<Work["kernel"], string>>> = {
  sampling: "sampling runs on the CPU",
  product: "matrix products run on the CPU",
  rotary: "rotary embedding runs on the CPU",
};

/** The only device that can take a call, and why; `undefined` if there is a choice. */
function constraint(work: Work, { device, gpu }: DispatchState): { readonly device: Device; readonly because: string } | undefined {
  const resident = work.operands.find(({ place }) => place === "gpu");
  const onlyGpu = resident === undefined ? undefined : `"${resident.name}" is in a GPU buffer`;
  const cpuKernel = CPU_KERNELS[work.kernel];
  const { onlyCpu } = work;

  if (onlyCpu !== undefined && cpuKernel === undefined) {
    if (onlyGpu !== undefined) throw new UnsupportedError(`${onlyCpu}, but ${onlyGpu}`);
    return { device: "wasm", because: onlyCpu };
  }
  if (onlyGpu !== undefined) {
    if (device === "wasm") throw new UnsupportedError(`${onlyGpu}; the engine was created with device "wasm"`);
    if (gpu.usable && cpuKernel !== undefined) return { device: "wasm", because: `${cpuKernel}; ${onlyGpu}, and is downloaded in one copy` };
    if (gpu.usable) return { device: "webgpu", because: onlyGpu };
    throw new (gpu.lost ? BackendError : UnsupportedError)(`${onlyGpu}, but WebGPU is off: ${gpu.reason}`);
  }
  if (device === "wasm") return { device, because: 'the engine was created with device "wasm"' };
  if (cpuKernel !== undefined) return { device: "wasm", because: cpuKernel };
  // Even with device "webgpu": the engine had a GPU when it was created, and calls keep working while it is lost.
  if (!gpu.usable) return { device: "wasm", because: `WebGPU is off: ${gpu.reason}` };
  if (device === "webgpu") return { device, because: 'the engine was created with device "webgpu"' };
  if (work.largestBytes > gpu.maxBufferBytes)
    return { device: "wasm", because: `a buffer of ${work.largestBytes} bytes is more than the GPU allows (${gpu.maxBufferBytes})` };
  if (work.spanBytes > gpu.maxSpanBytes)
    return { device: "wasm", because: `a row, or the keys of a head, of ${work.spanBytes} bytes is more than the GPU sees at once (${gpu.maxSpanBytes})` };
  return undefined;
}

function reasonOf(device: Device, { wasm, webgpu }: NonNullable<Decision["estimates"]>): string {
  const parts = (["submit", "upload", "compute", "readback"] as const).filter((part) => webgpu[part] > 0).map((part) => `${part} ${duration(webgpu[part])}`);
  const onGpu = `(${parts.join(", ")})`;
  return device === "webgpu"
    ? `webgpu: ${duration(webgpu.seconds)} estimated against ${duration(wasm.seconds)} on the CPU ${onGpu}`
    : `wasm: ${duration(wasm.seconds)} estimated against ${duration(webgpu.seconds)} on the GPU ${onGpu}`;
}

/** Two digits and a unit: "0.30 ms", "12 µs", "3.4 s". */
export function duration(seconds: number): string {
  const [value, unit] = seconds >= 1 ? [seconds, "s"] : seconds >= 1e-4 ? [seconds * 1e3, "ms"] : [seconds * 1e6, "µs"];
  const digits = value >= 10 ? 0 : value >= 1 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`;
}
