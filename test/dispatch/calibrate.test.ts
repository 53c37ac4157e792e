import { describe, expect, test } from "vitest";
import { type PreparedTask, type Prepare, type ProbeName, type ProbeTask, PROBES, type Sample, calibrate, fit } from "../../src/engine/calibrate.ts";
import { type Calibration, parseCalibration } from "../../src/engine/calibration.ts";
import { type Device, estimateCpu, estimateGpu } from "../../src/engine/dispatch.ts";
import { workOfShapes } from "../../src/engine/explain.ts";
import { MACHINES, modelRig } from "./device-models.ts";
import { rowWork } from "./grid.ts";

/** A machine of which every figure is known. */
const KNOWN: Calibration = {
  version: 1,
  cpu: {
    callSeconds: 2e-6,
    rowElementsPerSecond: { alone: 1.5e9, all: 5e9 },
    resultBytesPerSecond: 3e9,
    flopsPerSecond: { alone: 4e10, all: 2e11 },
    decodeBytesPerSecond: { alone: 9e9, all: 2e10 },
  },
  gpu: {
    submitSeconds: 15e-6,
    readbackSeconds: 40e-6,
    uploadBytesPerSecond: 5e9,
    downloadBytesPerSecond: 3e9,
    rowBytesPerSecond: 8e10,
    flopsPerSecond: { alone: 5e10, all: 2e12 },
    decodeBytesPerSecond: 6e10,
  },
};

/** What the cost model says that a probe takes: a calibration has to find the figures that it was made from. */
function secondsOf(device: Device, task: ProbeTask): number {
  const { gpu } = KNOWN;
  const roundTrip = gpu.submitSeconds + gpu.readbackSeconds;
  if ("bytes" in task) return roundTrip + task.bytes / (task.kind === "upload" ? gpu.uploadBytesPerSecond : gpu.downloadBytesPerSecond);
  const work = workOfShapes(task.op, task.shapes, { place: task.place });
  return device === "wasm" ? estimateCpu(work, KNOWN).seconds : estimateGpu(work, KNOWN).seconds + (task.place === "gpu" ? gpu.readbackSeconds : 0);
}

const isAttention = (task: ProbeTask): boolean => "op" in task && task.op === "attention";

/** A clock that tasks move, and everything that was done to them. */
function rig(seconds: (device: Device, task: ProbeTask, run: number) => number = secondsOf) {
  const log: { device: Device; task: ProbeTask; calls: number[]; disposed: number }[] = [];
  let clock = 100;
  const prepare: Prepare = (device, task): PreparedTask => {
    const entry = { device, task, calls: [] as number[], disposed: 0 };
    log.push(entry);
    return {
      run: async (calls) => {
        entry.calls.push(calls);
        // Of results that stay on the GPU only the last is waited for.
        const waits = "place" in task && task.place === "gpu" ? 1 : calls;
        clock += seconds(device, task, entry.calls.length - 1) * calls - (calls - waits) * KNOWN.gpu.readbackSeconds;
        await Promise.resolve();
      },
      dispose: () => {
        entry.disposed++;
      },
    };
  };
  return { prepare, now: () => clock, log };
}

/** Every figure by its path. */
function figures(value: object, path = ""): [string, number][] {
  return Object.entries(value).flatMap(([key, v]) => (typeof v === "number" ? [[`${path}${key}`, v]] : figures(v as object, `${path}${key}.`)));
}

/** The same but for the rounding of a clock that has run longer. */
function expectSameFigures(actual: Calibration, expected: Calibration): void {
  const found = new Map(figures(actual));
  for (const [path, value] of figures(expected)) expect((found.get(path) ?? NaN) / value, path).toBeCloseTo(1, 6);
}

describe("calibrate", () => {
  test("finds the figures of a machine that is as the cost model has it", async () => {
    const { prepare, now } = rig();
    const found = figures(await calibrate(prepare, now));
    for (const [path, expected] of figures(KNOWN)) {
      const [, value = NaN] = found.find(([p]) => p === path) ?? [];
      // Threads take time to wake, which rates of all of them include, and the smallest call is not empty: 2% of it is work.
      const part = path.endsWith(".all") && path.startsWith("cpu") ? 0.3 : 0.03;
      expect(Math.abs(value / expected - 1), `${path}: ${value}, not ${expected}`).toBeLessThan(part);
    }
  });

  test("the result is checked JSON", async () => {
    const { prepare, now } = rig();
    const calibration = await calibrate(prepare, now);
    expect(parseCalibration(JSON.parse(JSON.stringify(calibration)))).toEqual(calibration);
  });

  test("a timing that was interrupted changes nothing", async () => {
    const quiet = rig();
    const noisy = rig((device, task, run) => secondsOf(device, task) * (run === 2 ? 20 : 1));
    expectSameFigures(await calibrate(noisy.prepare, noisy.now), await calibrate(quiet.prepare, quiet.now));
  });

  test("the first run of a task, which compiles, is not timed", async () => {
    const quiet = rig();
    const compiling = rig((device, task, run) => secondsOf(device, task) + (run === 0 ? 0.5 : 0));
    expectSameFigures(await calibrate(compiling.prepare, compiling.now), await calibrate(quiet.prepare, quiet.now));
  });

  test("steps grow until one tells enough", async () => {
    const { prepare, now, log } = rig();
    await calibrate(prepare, now);
    const timed = log.filter(({ device, task }) => device === "webgpu" && isAttention(task));
    // A slow GPU stays at the first.
    const slow = rig((device, task) => secondsOf(device, task) + (isAttention(task) ? 5e-3 : 0));
    await calibrate(slow.prepare, slow.now);
    const timedSlow = slow.log.filter(({ device, task }) => device === "webgpu" && isAttention(task));
    expect(timed.length).toBeGreaterThan(timedSlow.length);
    const probes = PROBES.filter(({ device, steps }) => device === "webgpu" && isAttention(steps[0]));
    expect(timedSlow.length).toBe(probes.length);
  });

  test("a smaller budget takes fewer timings, but never so few that one decides", async () => {
    const runs = async (budget: number) => {
      const { prepare, now, log } = rig();
      await calibrate(prepare, now, budget);
      return log.reduce((n, { calls }) => n + calls.length, 0);
    };
    expect(await runs(0.01)).toBeLessThan(await runs(1));
    const { prepare, now, log } = rig();
    await calibrate(prepare, now, 0);
    // A warm-up and three timings of every probe, and the warm-up of all on the CPU.
    const cpu = PROBES.filter(({ device }) => device === "wasm").length;
    expect(log.filter(({ device }) => device === "wasm").map(({ calls }) => calls.length)).toEqual([
      ...new Array<number>(cpu).fill(1),
      ...new Array<number>(cpu).fill(4),
    ]);
  });

  test.each(MACHINES.map((machine) => ({ name: machine.name, machine })))("$name: takes a fraction of a second, compilation apart", async ({ machine }) => {
    for (let seed = 1; seed <= 5; seed++) {
      const { prepare, now, elapsed, compiling } = modelRig(machine, seed);
      await calibrate(prepare, now);
      expect(elapsed() - compiling()).toBeLessThan(machine.name.startsWith("phone") ? 0.6 : 0.3);
    }
  });

  test("a clock that stands still, or steps by more than probes take, gives figures that are finite", async () => {
    const { prepare, now } = rig();
    for (const clock of [() => 1, () => Math.floor(now() * 1000) / 1000]) {
      const calibration = await calibrate(prepare, clock);
      expect(parseCalibration(calibration)).toEqual(calibration);
    }
  });

  test("everything that was set up is disposed, also when a call fails", async () => {
    const { prepare, now, log } = rig();
    await calibrate(prepare, now);
    expect(log.every(({ disposed }) => disposed === 1)).toBe(true);
    const failing = rig((device) => {
      if (device === "webgpu") throw new Error("device lost");
      return 1e-3;
    });
    await expect(calibrate(failing.prepare, failing.now)).rejects.toThrow("device lost");
    expect(failing.log.every(({ disposed }) => disposed === 1)).toBe(true);
  });
});

describe("fit", () => {
  const samples: Sample[] = PROBES.map(({ name, device, steps }) => ({ probe: name, task: steps[0], seconds: secondsOf(device, steps[0]) }));
  const replaced = (probe: ProbeName, seconds: number) => samples.map((sample) => (sample.probe === probe ? { ...sample, seconds } : sample));

  test("a call that takes no longer than an empty one is fast, not infinitely fast", () => {
    const { gpu } = fit(replaced("gpu rows", 1e-6));
    const empty = samples.find(({ probe }) => probe === "gpu call")?.seconds ?? NaN;
    const { rowBytes } = rowWork("softmax", [128, 1024], "gpu");
    expect(gpu.rowBytesPerSecond).toBeCloseTo(rowBytes / (0.1 * empty), 0);
  });

  test("submitting is at most half of a round trip", () => {
    const { gpu } = fit(replaced("gpu submit", 1));
    expect(gpu.submitSeconds).toBe(gpu.readbackSeconds);
  });

  test("a probe that is missing is an error that names it", () => {
    expect(() => fit(samples.filter(({ probe }) => probe !== "gpu decode"))).toThrow('"samples" expected one of "gpu decode"');
  });

  test("probes have names of their own", () => {
    expect(new Set(PROBES.map(({ name }) => name)).size).toBe(PROBES.length);
  });
});

describe("parseCalibration", () => {
  const changed = (change: (c: Record<string, Record<string, unknown>>) => void): unknown => {
    const copy = structuredClone(KNOWN) as unknown as Record<string, Record<string, unknown>>;
    change(copy);
    return copy;
  };
  test.each<[string, unknown, new (message: string) => Error, string]>([
    ["nothing", undefined, TypeError, '"calibration" expected an object, got undefined'],
    ["a list", [], TypeError, '"calibration" expected an object, got []'],
    ["another version", { ...KNOWN, version: 0 }, RangeError, '"calibration.version" expected 1, got 0; calibrate again with this version of the package'],
    ["no GPU", { version: 1, cpu: KNOWN.cpu }, TypeError, '"calibration.gpu" expected an object, got undefined'],
    ["a missing figure", changed((c) => delete c["cpu"]?.["callSeconds"]), TypeError, '"calibration.cpu.callSeconds" expected a number, got undefined'],
    [
      "zero",
      changed((c) => c["gpu"] && (c["gpu"]["submitSeconds"] = 0)),
      RangeError,
      '"calibration.gpu.submitSeconds" expected a positive, finite number, got 0',
    ],
    [
      "NaN",
      changed((c) => c["gpu"] && (c["gpu"]["rowBytesPerSecond"] = NaN)),
      RangeError,
      '"calibration.gpu.rowBytesPerSecond" expected a positive, finite number, got NaN',
    ],
    ["a plain rate", changed((c) => c["gpu"] && (c["gpu"]["flopsPerSecond"] = 1)), TypeError, '"calibration.gpu.flopsPerSecond" expected an object, got 1'],
    [
      "half a rate",
      changed((c) => c["cpu"] && (c["cpu"]["flopsPerSecond"] = { alone: 1 })),
      TypeError,
      '"calibration.cpu.flopsPerSecond.all" expected a number, got undefined',
    ],
    [
      "infinity",
      changed((c) => c["cpu"] && (c["cpu"]["flopsPerSecond"] = { alone: Infinity, all: 1 })),
      RangeError,
      '"calibration.cpu.flopsPerSecond.alone" expected a positive, finite number, got Infinity',
    ],
  ])("%s is refused", (_, value, type, message) => {
    expect(() => parseCalibration(value)).toThrow(new type(message));
  });

  test("what is not known is dropped", () => {
    expect(parseCalibration({ ...KNOWN, comment: "my laptop" })).toEqual(KNOWN);
  });
});
