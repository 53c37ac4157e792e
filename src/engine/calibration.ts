import { describe } from "../errors/errors.ts";
import { parseObject } from "../errors/options.ts";

/** A rate for one core or workgroup alone, and for all of them together. */
export interface ParallelRate {
  /** For one alone. */
  readonly alone: number;
  /** For all of them together. */
  readonly all: number;
}

/**
 * What dispatch knows about a machine: a few rates, measured once, which tell how long its CPU and its GPU take. Plain JSON: keep it and
 * pass it to `createEngine({ calibration })` on the same machine with the same number of threads.
 */
export interface Calibration {
  /** Version of the figures. Any other version is refused. */
  readonly version: typeof CALIBRATION_VERSION;
  /** Rates of the CPU, with the engine's threads. */
  readonly cpu: {
    /** Seconds that even the smallest call takes. */
    readonly callSeconds: number;
    /** Elements per second in row operations, from the caller's arrays. */
    readonly rowElementsPerSecond: ParallelRate;
    /** Bytes of results per second, into new arrays. Memory that nobody has touched yet can take longer than writing to it. */
    readonly resultBytesPerSecond: number;
    /** Floating-point operations per second in attention, exponentials included (`flops` in `Work`). */
    readonly flopsPerSecond: ParallelRate;
    /** Bytes of keys and values per second when a few queries attend to many keys. */
    readonly decodeBytesPerSecond: ParallelRate;
  };
  /** Rates of the GPU. */
  readonly gpu: {
    /** Seconds to record and submit a call. */
    readonly submitSeconds: number;
    /** Seconds from submission until the caller has the first byte of the result. */
    readonly readbackSeconds: number;
    /** Bytes per second from the caller's arrays to the GPU. */
    readonly uploadBytesPerSecond: number;
    /** Bytes per second from the GPU to the caller's arrays. */
    readonly downloadBytesPerSecond: number;
    /** Bytes of GPU memory that row operations read and write per second. */
    readonly rowBytesPerSecond: number;
    /** As on the CPU. `alone` is the rate of the workgroup, or workgroups, that share one block of 64 queries of one head. */
    readonly flopsPerSecond: ParallelRate;
    /** As on the CPU. */
    readonly decodeBytesPerSecond: number;
  };
}

/** Bumped whenever a figure changes its meaning, so that an old calibration is refused rather than misread. */
export const CALIBRATION_VERSION = 1;

/** Which figures are plain numbers, and which are {@link ParallelRate}s. */
const CPU_FIELDS = {
  callSeconds: "plain",
  rowElementsPerSecond: "parallel",
  resultBytesPerSecond: "plain",
  flopsPerSecond: "parallel",
  decodeBytesPerSecond: "parallel",
} as const;
const GPU_FIELDS = {
  submitSeconds: "plain",
  readbackSeconds: "plain",
  uploadBytesPerSecond: "plain",
  downloadBytesPerSecond: "plain",
  rowBytesPerSecond: "plain",
  flopsPerSecond: "parallel",
  decodeBytesPerSecond: "plain",
} as const;

/** Checks a calibration that the caller passed in. */
export function parseCalibration(value: unknown): Calibration {
  const { version, cpu, gpu } = parseObject("calibration", value);
  if (version !== CALIBRATION_VERSION)
    throw new RangeError(`"calibration.version" expected ${CALIBRATION_VERSION}, got ${describe(version)}; calibrate again with this version of the package`);
  return {
    version: CALIBRATION_VERSION,
    cpu: parseFigures("calibration.cpu", cpu, CPU_FIELDS),
    gpu: parseFigures("calibration.gpu", gpu, GPU_FIELDS),
  };
}

type Figures<F extends Readonly<Record<string, "plain" | "parallel">>> = { readonly [K in keyof F]: F[K] extends "plain" ? number : ParallelRate };

function parseFigures<F extends Readonly<Record<string, "plain" | "parallel">>>(name: string, value: unknown, fields: F): Figures<F> {
  const given = parseObject(name, value);
  const figures = Object.entries(fields).map(([field, kind]) => {
    const path = `${name}.${field}`;
    if (kind === "plain") return [field, parseFigure(path, given[field])];
    const { alone, all } = parseObject(path, given[field]);
    return [field, { alone: parseFigure(`${path}.alone`, alone), all: parseFigure(`${path}.all`, all) }];
  });
  return Object.fromEntries(figures) as Figures<F>;
}

function parseFigure(name: string, value: unknown): number {
  if (typeof value !== "number") throw new TypeError(`"${name}" expected a number, got ${describe(value)}`);
  if (!(value > 0 && value < Infinity)) throw new RangeError(`"${name}" expected a positive, finite number, got ${value}`);
  return value;
}
