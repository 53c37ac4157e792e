import type { Calibration } from "../../src/engine/calibration.ts";
import { crossover, decide, estimateCpu, estimateGpu, FAMILIES, type Device, type Family } from "../../src/engine/dispatch.ts";
import type { Work } from "../../src/calls/work.ts";
import { grid, workOf, type GridCall } from "../../test/dispatch/grid.ts";
import { mistakes, replay, type TimedCall } from "../../test/dispatch/replay.ts";
import { uniform } from "../inputs.ts";
import type { Engines, GpuEngines } from "./engines.ts";
import { timeBothSides, type BothSides } from "./timed-calls.ts";

// Where dispatch moves calls to the GPU, and where it should.

/** One size of a family, measured. */
export interface FamilyPoint extends BothSides {
  readonly n: number;
  /** What `auto` chose. */
  readonly chosen: Device;
}

/** Where a family of calls moves to the GPU: as dispatch has it, and as measured. */
export interface FamilyReport {
  readonly family: string;
  /** The size from which dispatch goes to the GPU; undefined where it never does. */
  readonly predicted: number | undefined;
  /** The size from which the GPU was faster, between the sizes measured; undefined where it never was. */
  readonly measured: number | undefined;
  readonly points: readonly FamilyPoint[];
}

/** How dispatch does on this machine. */
export interface DispatchReport {
  readonly gpu: string;
  readonly driver: string;
  readonly threads: number;
  readonly calibration: Calibration;
  readonly families: readonly FamilyReport[];
  /** Every call that was timed on both sides: the families', and as many of the grid of test/dispatch as there was time for. */
  readonly calls: readonly TimedCall[];
  /** Calls whose sides differ by more than 1.5 times, and how many of them went to the faster one. */
  readonly judged: number;
  readonly right: number;
  readonly mistakes: readonly string[];
}

/** How long to look. */
interface Budget {
  readonly gridSeconds: number;
  /** The largest size of a family, and the longest call: a family ends with it, and the grid leaves out what is estimated longer. */
  readonly largest: number;
  readonly longestSeconds: number;
}

const REAL: Budget = { gridSeconds: 100, largest: 32768, longestSeconds: 0.5 };
const QUICK: Budget = { gridSeconds: 15, largest: 8192, longestSeconds: 0.2 };

/** Bytes of the largest operand that is timed: a gigabyte takes seconds to send. */
const LARGEST_BYTES = 2 ** 28;

/** Times the families and the grid, and compares what `auto` does. */
export async function reportDispatch(engines: Engines, gpu: GpuEngines, calibration: Calibration, quick: boolean): Promise<DispatchReport> {
  const { name, driver } = gpu;
  const budget = quick ? QUICK : REAL;
  const calls: TimedCall[] = [];
  const time = async (call: GridCall): Promise<TimedCall> => {
    const timed = { call, ...(await timeBothSides(engines.all, gpu.engine, call)) };
    calls.push(timed);
    return timed;
  };
  const chosen = (work: Work): Device =>
    decide(work, {
      device: "auto",
      gpu: { usable: true, maxBufferBytes: gpu.device.limits.maxBufferSize, maxSpanBytes: gpu.device.limits.maxStorageBufferBindingSize },
      calibration,
    }).device;

  const families: FamilyReport[] = [];
  for (const family of FAMILIES) {
    const points: FamilyPoint[] = [];
    for (let n = 16; n <= Math.min(family.largest, budget.largest); n *= 2) {
      const work = family.workOf(n);
      if (work.largestBytes > LARGEST_BYTES) break;
      const { wasmSeconds, webgpuSeconds } = await time(callOf(family, n));
      points.push({ n, wasmSeconds, webgpuSeconds, chosen: chosen(work) });
      if (Math.max(wasmSeconds, webgpuSeconds) > budget.longestSeconds) break;
    }
    families.push({ family: family.name, predicted: crossover(family, calibration).size, measured: measuredCrossover(points), points });
  }

  const end = performance.now() + 1000 * budget.gridSeconds;
  for (const call of shuffled(grid())) {
    if (performance.now() > end) break;
    const work = workOf(call);
    const seconds = Math.max(estimateCpu(work, calibration).seconds, estimateGpu(work, calibration).seconds);
    if (work.largestBytes <= LARGEST_BYTES && seconds <= budget.longestSeconds) await time(call);
  }
  const judged = replay({ machine: name, calibration, calls });
  return {
    ...{ gpu: name, driver, threads: engines.threads, calibration, families, calls },
    judged: judged.length,
    right: judged.filter((each) => each.chosen === each.faster).length,
    mistakes: mistakes(judged),
  };
}

/** The calls of dispatch's families, by name. */
const CALLS: Readonly<Record<string, (n: number) => GridCall>> = {
  "softmax n × n": (n) => ({ op: "softmax", rows: n, cols: n }),
  "logSumExp n × n": (n) => ({ op: "logSumExp", rows: n, cols: n }),
  "attention 8 × n × 64": (n) => ({ op: "attention", heads: 8, kvHeads: 8, queries: n, keys: n, dim: 64, causal: false }),
  "attention 8 × n × 64, causal": (n) => ({ op: "attention", heads: 8, kvHeads: 8, queries: n, keys: n, dim: 64, causal: true }),
  "decode 32/8 heads × 128, n keys": (n) => ({ op: "attention", heads: 32, kvHeads: 8, queries: 1, keys: n, dim: 128, causal: false }),
};

function callOf(family: Family, n: number): GridCall {
  const call = CALLS[family.name]?.(n);
  // A family of dispatch that is new or has changed must not be measured as something else.
  if (call === undefined || JSON.stringify(workOf(call)) !== JSON.stringify(family.workOf(n)))
    throw new Error(`the benchmark does not know the family "${family.name}"`);
  return call;
}

/** The size from which on the GPU was always faster: between two sizes, where the ratio of times passes 1 on logarithmic scales. */
export function measuredCrossover(points: readonly FamilyPoint[]): number | undefined {
  const lead = points.map(({ wasmSeconds, webgpuSeconds }) => Math.log(wasmSeconds / webgpuSeconds));
  const last = lead.reduce((found, value, i) => (value <= 0 ? i : found), -1);
  const after = points[last + 1];
  if (after === undefined) return undefined;
  const before = points[last];
  if (before === undefined) return after.n;
  const [a = 0, b = 0] = [lead[last], lead[last + 1]];
  return Math.round(before.n * (after.n / before.n) ** (a / (a - b)));
}

/** The same order every time, so that a run that ends early has seen all kinds of calls. */
function shuffled<T>(list: readonly T[]): readonly T[] {
  const random = uniform(1);
  const rest = [...list];
  for (let i = rest.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [rest[i], rest[j]] = [rest[j] as T, rest[i] as T];
  }
  return rest;
}
