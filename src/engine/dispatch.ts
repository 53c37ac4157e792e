import type { Calibration, ParallelRate } from "./calibration.ts";
import { BackendError, UnsupportedError } from "../errors/errors.ts";
import { type Work, attentionWorkOf, rowWorkOf } from "../calls/work.ts";

/** Where a call runs. */
export type Device = "wasm" | "webgpu";

/** What an engine knows when it chooses. */
export interface DispatchState {
  /** What the engine was created with. */
  readonly device: "auto" | Device;
  readonly gpu: GpuState;
  /** Rates of this machine; needed where there is a choice. */
  readonly calibration: Calibration | undefined;
}

/** Whether there is a GPU to choose, and why not. */
export type GpuState =
  | {
      readonly usable: true;
      /** The largest buffer that the device allows. */
      readonly maxBufferBytes: number;
      /** The longest range of a buffer that a shader sees, wherever it begins. */
      readonly maxSpanBytes: number;
    }
  | { readonly usable: false; /** Follows "WebGPU is off: ". */ readonly reason: string; readonly lost: boolean };

/** Seconds that a call is estimated to take on the CPU, by part. */
export interface CpuEstimate {
  /** The sum of the parts. */
  readonly seconds: number;
  /** What every call takes. */
  readonly call: number;
  /** Computing. */
  readonly compute: number;
  /** Writing the result into new memory. */
  readonly result: number;
}

/** The same on the GPU. Parts that a call does not have are 0: nothing is sent or read back where operands and result stay there. */
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
  /** The side that takes the call. */
  readonly device: Device;
  /** For people: "webgpu: 0.80 ms estimated against 5.1 ms on the CPU (submit 20 µs, upload 0.30 ms, compute 0.20 ms, readback 0.28 ms)". */
  readonly reason: string;
  /** Absent without a calibration. */
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
 * What waking the threads and waiting for the last of them costs. Not measured: it matters for calls of some 50 µs, which no
 * GPU's round trip can win.
 */
const WAKE_SECONDS = 15e-6;

/** Seconds of a call on the CPU: one thread, or all of them where that is faster. */
export function estimateCpu(work: Work, { cpu }: Calibration): CpuEstimate {
  const rows = cpuSeconds(work.rowElements, cpu.rowElementsPerSecond, work.parts.cpu);
  const scores = Math.max(cpuSeconds(work.flops, cpu.flopsPerSecond, work.parts.cpu), cpuSeconds(work.keyBytes, cpu.decodeBytesPerSecond, work.parts.cpu));
  const compute = rows + scores;
  const result = work.bytesOut / cpu.resultBytesPerSecond;
  return { seconds: cpu.callSeconds + compute + result, call: cpu.callSeconds, compute, result };
}

function cpuSeconds(amount: number, rate: ParallelRate, parts: number): number {
  return Math.min(amount / Math.min(rate.alone, rate.all), WAKE_SECONDS + amount / Math.min(rate.all, parts * rate.alone));
}

/** Seconds of a call on the GPU, from the arrays of the caller to the result in the caller's hands. */
export function estimateGpu(work: Work, { gpu }: Calibration): GpuEstimate {
  const compute =
    work.rowBytes / gpu.rowBytesPerSecond +
    Math.max(work.flops / Math.min(gpu.flopsPerSecond.all, work.parts.gpu * gpu.flopsPerSecond.alone), work.keyBytes / gpu.decodeBytesPerSecond);
  const upload = work.bytesIn / gpu.uploadBytesPerSecond;
  const readback = work.resultPlace === "gpu" ? 0 : gpu.readbackSeconds + work.bytesOut / gpu.downloadBytesPerSecond;
  return { seconds: gpu.submitSeconds + upload + compute + readback, submit: gpu.submitSeconds, upload, compute, readback };
}

/**
 * Decides where a call runs: where it must, else where it is estimated to end sooner. Precision never changes with the place.
 *
 * @throws UnsupportedError if no device of the engine computes the call, BackendError if the one that has its operands is lost
 */
export function decide(work: Work, state: DispatchState): Decision {
  const estimates = state.calibration === undefined ? undefined : { wasm: estimateCpu(work, state.calibration), webgpu: estimateGpu(work, state.calibration) };
  const forced = constraint(work, state);
  if (forced !== undefined) return { device: forced.device, reason: `${forced.device}: ${forced.because}`, estimates };
  if (estimates === undefined) return { device: "wasm", reason: "wasm: the machine has not been calibrated", estimates };
  const device = estimates.webgpu.seconds < estimates.wasm.seconds ? "webgpu" : "wasm";
  return {
    device,
    // Made when it is asked for: a call of a microsecond does not want to pay for prose.
    get reason() {
      return reasonOf(device, estimates);
    },
    estimates,
  };
}

/** The only device that can take a call, and what makes it the only one. */
function constraint(work: Work, { device, gpu }: DispatchState): { readonly device: Device; readonly because: string } | undefined {
  const resident = work.operands.find(({ place }) => place === "gpu");
  const first = work.operands[0]?.name ?? "x";
  // What only a GPU can do, and what none can.
  const onlyGpu =
    resident !== undefined
      ? `"${resident.name}" is in a GPU buffer`
      : work.dtype === "f16"
        ? `"${first}" has dtype f16, and the CPU path computes f32 and f64`
        : undefined;
  const onlyCpu = work.dtype === "f64" ? `"${first}" has dtype f64, and WebGPU has no f64` : undefined;

  if (onlyCpu !== undefined) {
    if (onlyGpu !== undefined) throw new UnsupportedError(`${onlyCpu}, but ${onlyGpu}`);
    return { device: "wasm", because: onlyCpu };
  }
  if (onlyGpu !== undefined) {
    if (device === "wasm") throw new UnsupportedError(`${onlyGpu}; the engine was created with device "wasm"`);
    if (gpu.usable) return { device: "webgpu", because: onlyGpu };
    throw new (gpu.lost ? BackendError : UnsupportedError)(`${onlyGpu}, but WebGPU is off: ${gpu.reason}`);
  }
  if (device === "wasm") return { device, because: 'the engine was created with device "wasm"' };
  // Also where the engine was created with device "webgpu": it had a GPU then, and the next call works again.
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

/** Calls that differ in one size, n. */
export interface Family {
  /** With n where the size stands: "softmax n × n". */
  readonly name: string;
  /** The largest n that is looked at. */
  readonly largest: number;
  workOf(n: number): Work;
}

/** Families whose operands and results are arrays of the caller: those that have a choice. */
export const FAMILIES: readonly Family[] = [
  { name: "softmax n × n", largest: 16384, workOf: (n) => rowWorkOf("softmax", [n, n], "host") },
  { name: "logSumExp n × n", largest: 16384, workOf: (n) => rowWorkOf("logSumExp", [n, n], "host") },
  { name: "attention 8 × n × 64", largest: 32768, workOf: (n) => attentionWorkOf({ heads: 8, queries: n, keys: n, dim: 64 }, "host") },
  { name: "attention 8 × n × 64, causal", largest: 32768, workOf: (n) => attentionWorkOf({ heads: 8, queries: n, keys: n, dim: 64, causal: true }, "host") },
  {
    name: "decode 32/8 heads × 128, n keys",
    largest: 131072,
    workOf: (n) => attentionWorkOf({ heads: 32, kvHeads: 8, queries: 1, keys: n, dim: 128 }, "host"),
  },
];

/** Where a family moves to the GPU. */
export interface Crossover {
  readonly family: string;
  /** The smallest size from which the GPU is estimated to be faster; undefined when there is none up to `largest`. */
  readonly size: number | undefined;
  readonly largest: number;
}

/** Finds where dispatch moves a family of calls from the CPU to the GPU. */
export function crossover(family: Family, calibration: Calibration): Crossover {
  const onGpu = (n: number): boolean => {
    const work = family.workOf(n);
    return estimateGpu(work, calibration).seconds < estimateCpu(work, calibration).seconds;
  };
  const found = (size: number | undefined): Crossover => ({ family: family.name, size, largest: family.largest });
  if (onGpu(1)) return found(1);
  for (let below = 1; below < family.largest; below *= 2) {
    let above = Math.min(below * 2, family.largest);
    if (!onGpu(above)) continue;
    let low = below;
    while (above - low > 1) {
      const middle = Math.floor((low + above) / 2);
      if (onGpu(middle)) above = middle;
      else low = middle;
    }
    return found(above);
  }
  return found(undefined);
}
