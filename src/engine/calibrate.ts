import type { Work } from "../calls/work.ts";
import { CALIBRATION_VERSION, type Calibration } from "./calibration.ts";
import type { Device } from "./dispatch.ts";
import { workOfShapes } from "./explain.ts";
import type { ExplainShapes } from "./types.ts";

/** An f32 call whose operands and result are in one place. */
export interface ProbeCall {
  readonly op: "softmax" | "logSumExp" | "attention";
  readonly shapes: ExplainShapes;
  readonly place: "host" | "gpu";
}

/** What a probe does. Transfers are measured separately from calls. */
export type ProbeTask = ProbeCall | { readonly kind: "upload" | "download"; readonly bytes: number };

/** A timed call, in steps of growing size: a small step is enough on a slow machine, but a fast machine needs a large one. */
export interface Probe {
  readonly name: ProbeName;
  readonly device: Device;
  /** Calls made back to back for one timing. More than one if a call is shorter than clocks can resolve (100 µs in some browsers). */
  readonly calls: number;
  readonly steps: readonly [ProbeTask, ...ProbeTask[]];
}

export type ProbeName =
  | `${"cpu" | "gpu"} ${"call" | "rows" | "flops alone" | "flops" | "decode"}`
  | `cpu ${"rows alone" | "result" | "decode alone"}`
  | `gpu ${"submit" | "upload" | "download"}`;

const transfer = (kind: "upload" | "download", mebibytes: number): ProbeTask => ({ kind, bytes: mebibytes * 2 ** 20 });

type Shape = readonly number[];

const rows = (place: ProbeCall["place"], op: "softmax" | "logSumExp", x: Shape): ProbeTask => ({ op, shapes: { x }, place });

const attention = (place: ProbeCall["place"], q: Shape, k = q): ProbeTask => ({ op: "attention", shapes: { q, k, v: k }, place });

const probe = (name: ProbeName, calls: number, ...steps: Probe["steps"]): Probe => ({
  name,
  device: name.startsWith("cpu") ? "wasm" : "webgpu",
  calls,
  steps,
});

/**
 * The calls that a calibration times. "alone" keeps one core, or the workgroups of one head, busy: threads do not share 64 queries of one
 * head, nor a few rows that take microseconds.
 */
export const PROBES: readonly Probe[] = [
  probe("cpu call", 64, rows("host", "softmax", [1, 16])),
  probe("cpu rows alone", 16, rows("host", "logSumExp", [16, 1024])),
  probe("cpu rows", 1, rows("host", "logSumExp", [1024, 1024])),
  probe("cpu result", 1, rows("host", "softmax", [1024, 1024])),
  probe("cpu flops alone", 4, attention("host", [1, 64, 64], [1, 192, 64])),
  probe("cpu flops", 1, attention("host", [8, 256, 64])),
  probe("cpu decode alone", 4, attention("host", [4, 1, 128], [1, 512, 128])),
  probe("cpu decode", 1, attention("host", [32, 1, 128], [8, 1024, 128])),
  probe("gpu call", 4, rows("host", "softmax", [1, 16])),
  probe("gpu submit", 16, rows("gpu", "softmax", [1, 16])),
  probe("gpu upload", 1, transfer("upload", 2), transfer("upload", 8)),
  probe("gpu download", 1, transfer("download", 2), transfer("download", 8)),
  probe("gpu rows", 1, rows("gpu", "softmax", [128, 1024]), rows("gpu", "softmax", [1024, 1024]), rows("gpu", "softmax", [4096, 1024])),
  probe("gpu flops alone", 1, attention("gpu", [1, 128, 64]), attention("gpu", [1, 128, 64], [1, 1024, 64])),
  probe("gpu flops", 1, attention("gpu", [4, 128, 64]), attention("gpu", [8, 512, 64]), attention("gpu", [16, 1024, 64])),
  probe(
    "gpu decode",
    1,
    attention("gpu", [32, 1, 128], [8, 128, 128]),
    attention("gpu", [32, 1, 128], [8, 1024, 128]),
    attention("gpu", [32, 1, 128], [8, 4096, 128]),
  ),
];

/** Seconds per call in the last step that a probe ran. */
export interface Sample {
  readonly probe: ProbeName;
  readonly task: ProbeTask;
  readonly seconds: number;
}

/** A task ready to run: operands are in place, and only the calls are left to make. */
export interface PreparedTask {
  /** Makes `calls` calls back to back. Resolves when the last result is there, or on the GPU, when the GPU has computed it. */
  run(calls: number): Promise<void>;
  dispose(): void;
}

/** Sets up a task: for real on a machine, on a model in tests. */
export type Prepare = (device: Device, task: ProbeTask) => PreparedTask | Promise<PreparedTask>;

/** Most seconds that a calibration spends on timed calls, give or take one call per probe. Compiling kernels comes on top. */
const BUDGET_SECONDS = 0.2;

/** Timings per step, of which the median counts: as many as fit the time, but enough that one may be an interruption. */
const LEAST_TIMINGS = 3;
const MOST_TIMINGS = 7;

/** A step is large enough if it takes this long, and this many round trips, so that their jitter is a small part of it. */
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

  // JavaScript engines compile Wasm twice, the second time in the background after a call or two. That happens while the GPU is measured.
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
 * The smallest share of the round trip that a timing may keep after the round trip is subtracted. Less is noise, and would make a machine
 * look infinitely fast.
 */
const LEAST_PART = 0.1;

/** Keeps rates finite if the clock does not advance. */
const LEAST_SECONDS = 1e-7;

/** Computes the rates from timed probes, one sample each. */
export function fit(samples: readonly Sample[]): Calibration {
  const seconds = (name: ProbeName): number => Math.max(sampleOf(name).seconds, LEAST_SECONDS);
  const sampleOf = (name: ProbeName): Sample => {
    const found = samples.find(({ probe }) => probe === name);
    if (found === undefined) throw new RangeError(`"samples" expected one of "${name}"`);
    return found;
  };
  /** Amount per second, without the `base` seconds that the smallest call takes. */
  const rate = (name: ProbeName, base: number, amountOf: (task: ProbeTask) => number): number =>
    amountOf(sampleOf(name).task) / Math.max(seconds(name) - base, LEAST_PART * base);

  const call = seconds("cpu call");
  const roundTrip = seconds("gpu call");
  // When results stay on the GPU, only the last call is waited for: n calls take n submits and the rest of one round trip.
  const { calls } = PROBES.find(({ name }) => name === "gpu submit") ?? { calls: 1 };
  const alone = (calls * seconds("gpu submit") - roundTrip) / (calls - 1);
  const submit = Math.min(Math.max(alone, LEAST_PART * roundTrip), roundTrip / 2);
  // Both probes take the same rows, but only "cpu result" writes a result of their size.
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
      flopsPerSecond: { alone: rate("gpu flops alone", roundTrip, flopsAlone), all: rate("gpu flops", roundTrip, flops) },
      decodeBytesPerSecond: rate("gpu decode", roundTrip, keyBytes),
    },
  };
}

/** A quantity of a probe's call; 0 for a transfer. */
const quantity =
  (amountOf: (work: Work) => number) =>
  (task: ProbeTask): number =>
    "bytes" in task ? 0 : amountOf(workOfShapes(task.op, task.shapes, { place: task.place }));
const rowElements = quantity((work) => work.rowElements);
const bytesOut = quantity((work) => work.bytesOut);
const rowBytes = quantity((work) => work.rowBytes);
const flops = quantity((work) => work.flops);
const flopsAlone = quantity((work) => work.flops / work.parts.gpu);
const keyBytes = quantity((work) => work.keyBytes);
const bytes = (task: ProbeTask): number => ("bytes" in task ? task.bytes : 0);
