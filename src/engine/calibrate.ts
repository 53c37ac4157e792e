import { CALIBRATION_VERSION, type Calibration } from "./calibration.ts";
import type { Device } from "./dispatch.ts";
import type { Place } from "../tensor/tensor.ts";
import { type HeadSizes, attentionWorkOf, rowWorkOf } from "../calls/work.ts";

/** What a probe does. Transfers are measured apart from calls. */
export type ProbeTask =
  | { readonly kind: "softmax" | "logSumExp"; readonly shape: readonly [rows: number, cols: number]; readonly place: Place }
  | { readonly kind: "attention"; readonly sizes: HeadSizes; readonly place: Place }
  | { readonly kind: "upload" | "download"; readonly bytes: number };

/** A call that is timed, in steps of growing size: a small step tells enough on a slow machine, on a fast one only a large does. */
export interface Probe {
  readonly name: ProbeName;
  readonly device: Device;
  /** Calls made one after the other for one timing; more where one is shorter than clocks resolve (100 µs in some browsers). */
  readonly calls: number;
  readonly steps: readonly [ProbeTask, ...ProbeTask[]];
}

export type ProbeName =
  | "cpu call"
  | "cpu rows alone"
  | "cpu rows"
  | "cpu result"
  | "cpu flops alone"
  | "cpu flops"
  | "cpu decode alone"
  | "cpu decode"
  | "gpu call"
  | "gpu submit"
  | "gpu upload"
  | "gpu download"
  | "gpu rows"
  | "gpu flops alone"
  | "gpu flops"
  | "gpu decode";

const TINY: readonly [number, number] = [1, 16];

const transfer = (kind: "upload" | "download", mebibytes: number): ProbeTask => ({ kind, bytes: mebibytes * 2 ** 20 });
const onHost = (sizes: HeadSizes): ProbeTask => ({ kind: "attention", sizes, place: "host" });
const onGpu = (sizes: HeadSizes): ProbeTask => ({ kind: "attention", sizes, place: "gpu" });

/**
 * The calls that a calibration times. "alone" keeps one core, or the workgroups of one head, busy: 64 queries of one head are not
 * divided over threads, nor are some rows of a few microseconds.
 */
export const PROBES: readonly Probe[] = [
  { name: "cpu call", device: "wasm", calls: 64, steps: [{ kind: "softmax", shape: TINY, place: "host" }] },
  { name: "cpu rows alone", device: "wasm", calls: 16, steps: [{ kind: "logSumExp", shape: [16, 1024], place: "host" }] },
  { name: "cpu rows", device: "wasm", calls: 1, steps: [{ kind: "logSumExp", shape: [1024, 1024], place: "host" }] },
  { name: "cpu result", device: "wasm", calls: 1, steps: [{ kind: "softmax", shape: [1024, 1024], place: "host" }] },
  { name: "cpu flops alone", device: "wasm", calls: 4, steps: [onHost({ heads: 1, queries: 64, keys: 192, dim: 64 })] },
  { name: "cpu flops", device: "wasm", calls: 1, steps: [onHost({ heads: 8, queries: 256, keys: 256, dim: 64 })] },
  { name: "cpu decode alone", device: "wasm", calls: 4, steps: [onHost({ heads: 4, kvHeads: 1, queries: 1, keys: 512, dim: 128 })] },
  { name: "cpu decode", device: "wasm", calls: 1, steps: [onHost({ heads: 32, kvHeads: 8, queries: 1, keys: 1024, dim: 128 })] },
  { name: "gpu call", device: "webgpu", calls: 4, steps: [{ kind: "softmax", shape: TINY, place: "host" }] },
  { name: "gpu submit", device: "webgpu", calls: 16, steps: [{ kind: "softmax", shape: TINY, place: "gpu" }] },
  { name: "gpu upload", device: "webgpu", calls: 1, steps: [transfer("upload", 2), transfer("upload", 8)] },
  { name: "gpu download", device: "webgpu", calls: 1, steps: [transfer("download", 2), transfer("download", 8)] },
  {
    name: "gpu rows",
    device: "webgpu",
    calls: 1,
    steps: [
      { kind: "softmax", shape: [128, 1024], place: "gpu" },
      { kind: "softmax", shape: [1024, 1024], place: "gpu" },
      { kind: "softmax", shape: [4096, 1024], place: "gpu" },
    ],
  },
  {
    name: "gpu flops alone",
    device: "webgpu",
    calls: 1,
    steps: [onGpu({ heads: 1, queries: 128, keys: 128, dim: 64 }), onGpu({ heads: 1, queries: 128, keys: 1024, dim: 64 })],
  },
  {
    name: "gpu flops",
    device: "webgpu",
    calls: 1,
    steps: [
      onGpu({ heads: 4, queries: 128, keys: 128, dim: 64 }),
      onGpu({ heads: 8, queries: 512, keys: 512, dim: 64 }),
      onGpu({ heads: 16, queries: 1024, keys: 1024, dim: 64 }),
    ],
  },
  {
    name: "gpu decode",
    device: "webgpu",
    calls: 1,
    steps: [
      onGpu({ heads: 32, kvHeads: 8, queries: 1, keys: 128, dim: 128 }),
      onGpu({ heads: 32, kvHeads: 8, queries: 1, keys: 1024, dim: 128 }),
      onGpu({ heads: 32, kvHeads: 8, queries: 1, keys: 4096, dim: 128 }),
    ],
  },
];

/** Time of one call of a probe's last step, in seconds. */
export interface Sample {
  readonly probe: ProbeName;
  readonly task: ProbeTask;
  readonly seconds: number;
}

/** A task set up: operands are where they have to be, and nothing but calls is left to do. */
export interface PreparedTask {
  /** Makes `calls` calls one after the other; done when the last result is there, on the GPU: when the GPU has computed it. */
  run(calls: number): Promise<void>;
  dispose(): void;
}

/** How tasks are run: by the engine on a machine, by a model in tests. */
export type Prepare = (device: Device, task: ProbeTask) => PreparedTask | Promise<PreparedTask>;

/** Seconds of timed calls that a calibration takes at most, give or take one call per probe; compiling kernels is not in it. */
const BUDGET_SECONDS = 0.2;

/** Timings of a step, of which the median counts: as many as fit the time, but enough for one of them to be an interruption. */
const LEAST_TIMINGS = 3;
const MOST_TIMINGS = 7;

/** A step tells enough if it takes this long, and this many round trips: their jitter is then a small part of it. */
const LONG_SECONDS = 1e-3;
const LONG_ROUND_TRIPS = 4;

/**
 * Measures the rates that dispatch needs.
 *
 * @param prepare - sets up a task on a device
 * @param now - a clock, in seconds
 * @returns a calibration, which is plain JSON
 */
export async function calibrate(prepare: Prepare, now: () => number, budgetSeconds = BUDGET_SECONDS): Promise<Calibration> {
  const share = budgetSeconds / PROBES.length;
  const time = async (prepared: PreparedTask, calls: number): Promise<number> => {
    const start = now();
    await prepared.run(calls);
    return (now() - start) / calls;
  };
  const samples: Sample[] = [];
  const measure = async ({ name, device, calls, steps }: Probe): Promise<Sample> => {
    let spent = 0;
    const roundTrip = samples.find(({ probe }) => probe === "gpu call")?.seconds ?? 0;
    const long = Math.max(LONG_SECONDS, LONG_ROUND_TRIPS * roundTrip);
    for (const [i, task] of steps.entries()) {
      const prepared = await prepare(device, task);
      try {
        // Compiles kernels, makes buffers, warms caches.
        await prepared.run(calls);
        const timings = [await time(prepared, calls)];
        const isLast = i === steps.length - 1;
        spent += (timings[0] ?? 0) * calls;
        if (!isLast && (timings[0] ?? 0) < long && spent < share) continue;
        while (timings.length < LEAST_TIMINGS || (timings.length < MOST_TIMINGS && spent < share)) {
          const seconds = await time(prepared, calls);
          timings.push(seconds);
          spent += seconds * calls;
        }
        return { probe: name, task, seconds: median(timings) };
      } finally {
        prepared.dispose();
      }
    }
    throw new RangeError(`"${name}" has no step`);
  };

  // Engines compile Wasm twice, the second time in the background after a call or two: while the GPU is measured.
  for (const { device, calls, steps } of PROBES) {
    if (device !== "wasm") continue;
    const prepared = await prepare(device, steps[0]);
    try {
      await prepared.run(2 * calls);
    } finally {
      prepared.dispose();
    }
  }
  for (const device of ["webgpu", "wasm"] as const) {
    for (const probe of PROBES) if (probe.device === device) samples.push(await measure(probe));
  }
  return fit(samples);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? NaN;
}

/**
 * What is left of a timing after the round trip, as a part of that at least: less is noise, and would make a machine look
 * infinitely fast.
 */
const LEAST_PART = 0.1;

/** A clock that does not advance must not give rates that are infinite. */
const LEAST_SECONDS = 1e-7;

/** Rates from timed probes, one sample of each. */
export function fit(samples: readonly Sample[]): Calibration {
  const seconds = (name: ProbeName): number => Math.max(sampleOf(name).seconds, LEAST_SECONDS);
  const sampleOf = (name: ProbeName): Sample => {
    const found = samples.find(({ probe }) => probe === name);
    if (found === undefined) throw new RangeError(`"samples" expected one of "${name}"`);
    return found;
  };
  /** Amount per second beyond what the smallest call takes. */
  const rate = (name: ProbeName, base: number, amountOf: (task: ProbeTask) => number): number =>
    amountOf(sampleOf(name).task) / Math.max(seconds(name) - base, LEAST_PART * base);

  const call = seconds("cpu call");
  const roundTrip = seconds("gpu call");
  // Of calls whose results stay, only the last is waited for: n calls take n submits and the rest of one round trip.
  const { calls } = PROBES.find(({ name }) => name === "gpu submit") ?? { calls: 1 };
  const alone = (calls * seconds("gpu submit") - roundTrip) / (calls - 1);
  const submit = Math.min(Math.max(alone, LEAST_PART * roundTrip), roundTrip / 2);
  // The same rows without a result and with one of their size.
  const results = rate("cpu result", seconds("cpu rows"), bytesOut);
  const cpuRate = (name: ProbeName, amountOf: (task: ProbeTask) => number): number => rate(name, call + bytesOut(sampleOf(name).task) / results, amountOf);
  return {
    version: CALIBRATION_VERSION,
    cpu: {
      callSeconds: call,
      rowElementsPerSecond: { alone: cpuRate("cpu rows alone", rowElements), all: cpuRate("cpu rows", rowElements) },
      resultBytesPerSecond: results,
      flopsPerSecond: { alone: cpuRate("cpu flops alone", flops), all: cpuRate("cpu flops", flops) },
      decodeBytesPerSecond: { alone: cpuRate("cpu decode alone", keyBytes), all: cpuRate("cpu decode", keyBytes) },
    },
    gpu: {
      submitSeconds: submit,
      readbackSeconds: roundTrip - submit,
      uploadBytesPerSecond: rate("gpu upload", roundTrip, bytes),
      downloadBytesPerSecond: rate("gpu download", roundTrip, bytes),
      rowBytesPerSecond: rate("gpu rows", roundTrip, rowBytes),
      flopsPerSecond: { alone: rate("gpu flops alone", roundTrip, (task) => flops(task) / parts(task)), all: rate("gpu flops", roundTrip, flops) },
      decodeBytesPerSecond: rate("gpu decode", roundTrip, keyBytes),
    },
  };
}

const workOf = (task: ProbeTask) =>
  task.kind === "softmax" || task.kind === "logSumExp"
    ? rowWorkOf(task.kind, task.shape, task.place)
    : task.kind === "attention"
      ? attentionWorkOf(task.sizes, task.place)
      : { bytesOut: 0, rowElements: 0, rowBytes: 0, flops: 0, keyBytes: 0, parts: { gpu: 1 } };
const rowElements = (task: ProbeTask): number => workOf(task).rowElements;
const bytesOut = (task: ProbeTask): number => workOf(task).bytesOut;
const rowBytes = (task: ProbeTask): number => workOf(task).rowBytes;
const flops = (task: ProbeTask): number => workOf(task).flops;
const keyBytes = (task: ProbeTask): number => workOf(task).keyBytes;
const parts = (task: ProbeTask): number => workOf(task).parts.gpu;
const bytes = (task: ProbeTask): number => (task.kind === "upload" || task.kind === "download" ? task.bytes : 0);
