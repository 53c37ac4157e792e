import type { Engine } from "../../src/index.ts";
import { grid, type GridCall } from "../../test/dispatch/grid.ts";
import { mistakes, replay, type TimedCall } from "../../test/dispatch/replay.ts";
import { random } from "../../test/support/numbers.ts";
import { callOn } from "../contenders/onepass.ts";
import { draw, type Call } from "../measure/problem.ts";
import { timeTasks, type TimingPlan } from "../measure/timing.ts";
import { compare } from "../measure/verify.ts";
import type { Engines, GpuEngines } from "./engines.ts";

// Where dispatch moves calls to the GPU, and where it should.

/** Seconds on both sides. */
interface BothSides {
  readonly wasm: number;
  readonly webgpu: number;
}

/** How dispatch does on this machine. */
export type DispatchReport = NonNullable<Awaited<ReturnType<typeof measureDispatch>>>;

/** Calls that differ in one size, n. */
interface Family {
  readonly name: string;
  /** The largest n that is looked at. */
  readonly largest: number;
  readonly callOf: (n: number) => GridCall;
}

const HEADS = { op: "attention", heads: 8, kvHeads: 8, dim: 64 } as const;
const FAMILIES: readonly Family[] = [
  { name: "softmax n × n", largest: 16384, callOf: (n) => ({ op: "softmax", rows: n, cols: n }) },
  { name: "logSumExp n × n", largest: 16384, callOf: (n) => ({ op: "logSumExp", rows: n, cols: n }) },
  { name: "attention 8 × n × 64", largest: 32768, callOf: (n) => ({ ...HEADS, queries: n, keys: n, causal: false }) },
  { name: "attention 8 × n × 64, causal", largest: 32768, callOf: (n) => ({ ...HEADS, queries: n, keys: n, causal: true }) },
  {
    name: "decode 32/8 heads × 128, n keys",
    largest: 131072,
    callOf: (n) => ({ op: "attention", heads: 32, kvHeads: 8, queries: 1, keys: n, dim: 128, causal: false }),
  },
];

/** How long to look. A family ends with the largest size and with the longest call, and the grid leaves out what is estimated longer. */
const REAL = { gridSeconds: 100, largest: 32768, longestSeconds: 0.5 };
const QUICK: typeof REAL = { gridSeconds: 15, largest: 8192, longestSeconds: 0.2 };
/** Bytes of the largest operand that is timed: a gigabyte takes seconds to send. */
const LARGEST_BYTES = 2 ** 28;
/** Both sides in turns; a call of more than 0.3 s once. */
const PLAN: TimingPlan = { rounds: 5, roundMs: 8, roundSamples: 1, taskMs: 300, warmMs: 0, warmLimitMs: 100 };

/** Times the families and the grid, and compares what `auto` does. */
export async function measureDispatch({ all }: Engines, { name, engine, auto }: GpuEngines, quick: boolean) {
  const calibration = auto?.calibration;
  if (auto === undefined || calibration === undefined) return undefined;
  const budget = quick ? QUICK : REAL;
  /** Every call that was timed on both sides: the families', and as many of the grid of test/dispatch as there is time for. */
  const calls: TimedCall[] = [];
  const time = async (call: GridCall): Promise<BothSides> => {
    const { wasm, webgpu } = await timeBothSides(all, engine, toCall(call));
    calls.push({ call, wasmSeconds: wasm, webgpuSeconds: webgpu });
    return { wasm, webgpu };
  };
  const measureFamily = async ({ name: family, largest, callOf }: Family) => {
    const points: (BothSides & { readonly n: number; readonly estimated: BothSides })[] = [];
    for (let n = 16; n <= Math.min(largest, budget.largest) && largestBytes(callOf(n)) <= LARGEST_BYTES; n *= 2) {
      const seconds = await time(callOf(n));
      points.push({ n, ...seconds, estimated: estimate(auto, callOf(n)) });
      if (Math.max(seconds.wasm, seconds.webgpu) > budget.longestSeconds) break;
    }
    const sizes = points.map(({ n }) => n);
    const estimated = points.map((point) => point.estimated);
    return { family, predicted: crossover(sizes, estimated), measured: crossover(sizes, points), points };
  };

  const families = [];
  for (const family of FAMILIES) families.push(await measureFamily(family));
  const end = performance.now() + 1000 * budget.gridSeconds;
  for (const call of shuffled(grid())) {
    if (performance.now() > end) break;
    const { wasm, webgpu } = estimate(auto, call);
    if (largestBytes(call) <= LARGEST_BYTES && Math.max(wasm, webgpu) <= budget.longestSeconds) await time(call);
  }
  /** Calls whose sides differ by more than 1.5 times, and how many of them went to the faster one. */
  const judged = replay({ machine: name, calibration, calls });
  const right = judged.filter(({ chosen, faster }) => chosen === faster).length;
  return { calibration, families, calls, judged: judged.length, right, mistakes: mistakes(judged) };
}

function toCall(call: GridCall): Call {
  if (call.op !== "attention") return call;
  const { causal, windowLeft, ...sizes } = call;
  return { ...sizes, ...(causal && { causal }), ...(windowLeft !== undefined && { windowSize: [windowLeft, 0] }) };
}

/** The shapes of a call's operands. */
function shapesOf(call: GridCall): Readonly<Record<string, readonly number[]>> {
  if (call.op !== "attention") return { x: [call.rows, call.cols] };
  const { heads, kvHeads, queries, keys, dim } = call;
  return { q: [heads, queries, dim], k: [kvHeads, keys, dim], v: [kvHeads, keys, dim] };
}

function largestBytes(call: GridCall): number {
  return 4 * Math.max(...Object.values(shapesOf(call)).map((shape) => shape.reduce((n, size) => n * size)));
}

/** What an engine expects of a call. */
function estimate(auto: Engine, call: GridCall): BothSides {
  const { causal, windowSize } = toCall(call) as { readonly causal?: true; readonly windowSize?: readonly [number, number] };
  const { estimates } = auto.explain(call.op, shapesOf(call), { ...(causal && { causal }), ...(windowSize && { windowSize }) });
  return { wasm: estimates?.wasm.seconds ?? NaN, webgpu: estimates?.webgpu.seconds ?? NaN };
}

/** Seconds of a call on both sides, from arrays of the caller to a result in a new array. Their results are compared first. */
async function timeBothSides(wasm: Engine, webgpu: Engine, call: Call): Promise<BothSides> {
  const problem = draw(call);
  const runs = [wasm, webgpu].map((engine) => callOn(engine, problem, problem.operands) as () => Promise<{ readonly data: Float32Array }>);
  const [onCpu, onGpu] = await Promise.all(runs.map(async (run) => (await run()).data));
  // Probabilities, and means of values of deviation 1: a thousandth apart is a wrong result, and no rounding.
  compare(onGpu ?? new Float32Array(0), onCpu ?? [], 1e-3, 1);
  const [cpu, gpu] = await timeTasks(
    runs.map((run) => ({ run, batch: 1 })),
    PLAN,
  );
  return { wasm: (cpu?.ms ?? NaN) / 1000, webgpu: (gpu?.ms ?? NaN) / 1000 };
}

/** The size from which on the GPU is always faster: between two sizes, where the ratio of times passes 1 on logarithmic scales. */
function crossover(sizes: readonly number[], times: readonly BothSides[]): number | undefined {
  const lead = times.map(({ wasm, webgpu }) => Math.log(wasm / webgpu));
  const last = lead.reduce((found, value, i) => (value <= 0 ? i : found), -1);
  const [before, after] = [sizes[last], sizes[last + 1]];
  if (after === undefined || before === undefined) return after;
  const [a = 0, b = 0] = [lead[last], lead[last + 1]];
  return Math.round(before * (after / before) ** (a / (a - b)));
}

/** The same order every time, so that a run that ends early has seen all kinds of calls. */
function shuffled<T>(list: readonly T[]): readonly T[] {
  const next = random(1);
  return list
    .map((item) => [next(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}
