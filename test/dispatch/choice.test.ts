import { beforeAll, describe, expect, test } from "vitest";
import { calibrate } from "../../src/engine/calibrate.ts";
import { type Calibration, parseCalibration } from "../../src/engine/calibration.ts";
import { decide } from "../../src/engine/dispatch.ts";
import { MACHINES, type Machine, anyMachine, cpuSeconds, gpuSeconds, modelRig, timed } from "./device-models.ts";
import { FAMILIES, crossover } from "./families.ts";
import { grid, kindOf, workOf } from "./grid.ts";
import { type DispatchTable, type Judged, mistakes, parseTable, recordedTables, replay, rightPart } from "./replay.ts";

// Calibrated on a machine, dispatch picks its faster side. The machines are models with effects that the cost model lacks
// (device-models.ts), and tables recorded on real devices where there are any.

const RIGHT = 0.95;

async function calibrated(machine: Machine, seed: number): Promise<Calibration> {
  const { prepare, now } = modelRig(machine, seed);
  return calibrate(prepare, now);
}

async function judge(machine: Machine, seed: number): Promise<readonly Judged[]> {
  return replay({ machine: machine.name, calibration: await calibrated(machine, seed), calls: timed(machine) });
}

const part = (judged: readonly Judged[], predicate: (j: Judged) => boolean): number => judged.filter(predicate).length / judged.length;

describe("on models of machines", () => {
  const SEEDS = [1, 2, 3, 4, 5];
  /** By machine, all seeds. */
  const judged = new Map<string, readonly (readonly Judged[])[]>();
  beforeAll(async () => {
    for (const machine of MACHINES) judged.set(machine.name, await Promise.all(SEEDS.map((seed) => judge(machine, seed))));
  });
  const all = (): readonly Judged[] => [...judged.values()].flat(2);

  test.each(MACHINES.map(({ name }) => name))("%s: at least 95% of clear calls go to the faster side, however noisy the calibration", (name) => {
    for (const run of judged.get(name) ?? []) {
      expect(run.length).toBeGreaterThan(200);
      expect(rightPart(run), mistakes(run).join("\n")).toBeGreaterThanOrEqual(RIGHT);
    }
  });

  test("so do those of each kind", () => {
    for (const kind of ["rows", "prefill", "masked prefill", "decode"] as const) {
      const ofKind = all().filter(({ call }) => kindOf(call) === kind);
      expect(rightPart(ofKind), kind).toBeGreaterThanOrEqual(RIGHT);
      // Both sides win, so that there is something to choose.
      expect(
        part(ofKind, ({ faster }) => faster === "webgpu"),
        kind,
      ).toBeGreaterThan(0.05);
      expect(
        part(ofKind, ({ faster }) => faster === "wasm"),
        kind,
      ).toBeGreaterThan(0.2);
    }
  });

  test("one answer for all calls would not do", () => {
    expect(part(all(), ({ faster }) => faster === "wasm")).toBeLessThan(0.8);
    expect(part(all(), ({ faster }) => faster === "webgpu")).toBeLessThan(0.8);
  });

  test("neither would one size for all machines, nor another machine's calibration", async () => {
    // The best threshold on operations and elements that there is, found by trying them.
    const sized = all().map(({ call, faster }) => ({ size: workOf(call).flops + workOf(call).rowElements, onGpu: faster === "webgpu" }));
    const rightBeyond = (limit: number): number => sized.filter(({ size, onGpu }) => size > limit === onGpu).length / sized.length;
    const best = Math.max(...Array.from({ length: 50 }, (_, i) => rightBeyond(10 ** (i / 4))));
    expect(best).toBeLessThan(0.8);

    const [fast, slow] = [MACHINES[0], MACHINES[7]];
    if (fast === undefined || slow === undefined) return expect.fail("no machines");
    const mixed = replay({ machine: "", calibration: await calibrated(fast, 1), calls: timed(slow) });
    expect(rightPart(mixed)).toBeLessThan(0.8);
  });

  test("sixty machines like them with figures up to three times apart", async () => {
    const runs: (readonly Judged[])[] = [];
    for (let seed = 1; seed <= 60; seed++) runs.push(await judge(anyMachine(seed), seed));
    expect(rightPart(runs.flat())).toBeGreaterThanOrEqual(RIGHT);
    for (const run of runs) if (run.length >= 200) expect(rightPart(run), mistakes(run).join("\n")).toBeGreaterThanOrEqual(0.9);
  });

  test("calls that go wrong lose less than 5% over the grid", async () => {
    // The geometric mean of times under auto, beside that of an oracle; calls whose sides are close count too.
    for (const machine of MACHINES) {
      const calls = timed(machine);
      const calibration = await calibrated(machine, 1);
      let [auto, best] = [0, 0];
      for (const { call, wasmSeconds, webgpuSeconds } of calls) {
        const { device } = decide(workOf(call), { device: "auto", gpu: { usable: true, maxBufferBytes: Infinity, maxSpanBytes: Infinity }, calibration });
        auto += Math.log(device === "wasm" ? wasmSeconds : webgpuSeconds);
        best += Math.log(Math.min(wasmSeconds, webgpuSeconds));
      }
      expect(Math.exp((auto - best) / calls.length), machine.name).toBeLessThan(1.05);
    }
  });

  test("operands on the GPU stay there, whatever the CPU could do", async () => {
    for (const machine of MACHINES) {
      const state = {
        device: "auto",
        gpu: { usable: true, maxBufferBytes: Infinity, maxSpanBytes: Infinity },
        calibration: await calibrated(machine, 1),
      } as const;
      for (const call of grid()) {
        const { device, estimates } = decide(workOf(call, "gpu"), state);
        expect(device).toBe("webgpu");
        expect(estimates?.webgpu).toMatchObject({ upload: 0, readback: 0 });
      }
    }
  });

  test.each(MACHINES)("$name: crossovers are where the machine's are, to a factor of two", async (machine) => {
    const calibration = await calibrated(machine, 1);
    for (const name of ["softmax n × n", "attention 8 × n × 64"]) {
      const family = FAMILIES.find((f) => f.name === name);
      if (family === undefined) return expect.fail(`no family "${name}"`);
      const { size } = crossover(family, calibration);
      const ratio = (n: number): number => gpuSeconds(machine.gpu, { ...family.callOf(n), place: "host" }) / cpuSeconds(machine.cpu, family.callOf(n));
      // At half the size the CPU is not clearly slower, at twice the size the GPU is not.
      if (size === undefined) expect(ratio(family.largest), name).toBeGreaterThan(1 / 1.5);
      else {
        expect(ratio(Math.ceil(size / 2)), `${name} at half of ${size}`).toBeGreaterThan(1 / 1.5);
        expect(ratio(Math.min(size * 2, family.largest)), `${name} at twice ${size}`).toBeLessThan(1.5);
      }
    }
  });
});

describe("on recorded tables", () => {
  const tables = recordedTables();
  if (tables.length === 0) test("none: bench/results has no dispatch-*.json", (context) => context.skip("no table of a real device has been recorded"));

  test.each(tables)("$file", ({ table }) => {
    const judged = replay(table);
    expect(rightPart(judged), mistakes(judged).join("\n")).toBeGreaterThanOrEqual(RIGHT);
  });

  const machine = MACHINES[3];
  const written = async (): Promise<DispatchTable> => {
    if (machine === undefined) return expect.fail("no machine");
    return { machine: machine.name, calibration: await calibrated(machine, 1), calls: timed(machine) };
  };

  test("a table that is written and read again gives the same judgement", async () => {
    const table = await written();
    const read = parseTable("dispatch-model.json", JSON.parse(JSON.stringify(table)));
    expect(read.calibration).toEqual(parseCalibration(table.calibration));
    expect(mistakes(replay(read))).toEqual(mistakes(replay(table)));
  });

  test("a replay sees mistakes", async () => {
    const table = await written();
    const swapped = {
      ...table,
      calls: table.calls.map(({ call, wasmSeconds, webgpuSeconds }) => ({ call, wasmSeconds: webgpuSeconds, webgpuSeconds: wasmSeconds })),
    };
    expect(rightPart(replay(swapped))).toBeLessThan(0.05);
    expect(mistakes(replay(swapped)).length).toBeGreaterThan(200);
  });

  test("a table of another shape is an error", async () => {
    const table = await written();
    expect(() => parseTable("dispatch-x.json", { ...table, calls: [] })).toThrow("dispatch-x.json expected");
    expect(() => parseTable("dispatch-x.json", { ...table, calls: [{ ...table.calls[0], wasmSeconds: 0 }] })).toThrow("calls[0]");
    expect(() => parseTable("dispatch-x.json", { ...table, calls: [{ ...table.calls[0], call: { op: "softmax", shape: [1, 2] } }] })).toThrow("calls[0]");
    expect(() => parseTable("dispatch-x.json", { ...table, calibration: {} })).toThrow("calibration");
  });
});
