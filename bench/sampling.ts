import { createRequire } from "node:module";
import { median } from "./statistics.ts";

/** How often something is run, and for how long. */
export interface SamplingPlan {
  /** Milliseconds to fill. */
  readonly timeMs: number;
  readonly leastSamples: number;
  /** Milliseconds and runs before, to bring data and branch history back; none when absent. */
  readonly warmUp: { readonly timeMs: number; readonly runs: number } | undefined;
}

/** What one run tells of its duration: nothing, or milliseconds by a clock of its own. */
export type Run = () => number | undefined | Promise<number | undefined>;

export interface Samples {
  readonly medianMs: number;
  readonly count: number;
}

/** Runs something a number of times. */
export type Sampler = (run: Run, isAsync: boolean, plan: SamplingPlan) => Promise<Samples>;

/**
 * Whether tinybench is there. A machine lent without a network has Node, the sources and a GPU, and no packages: a plain loop does the
 * same there, less carefully (it does not subtract what the clock costs, 40 ns).
 */
export const hasTinybench = isInstalled("tinybench");

/** Whether a package can be imported here. */
export function isInstalled(name: string): boolean {
  try {
    createRequire(import.meta.url).resolve(name);
    return true;
  } catch (error) {
    // A package for `import` alone is found, but not for `require`.
    return (error as { code?: string }).code === "ERR_PACKAGE_PATH_NOT_EXPORTED";
  }
}

export const sample: Sampler = async (run, isAsync, plan) => (hasTinybench ? inTinybench(run, isAsync, plan) : inLoop(run, plan));

const inTinybench: Sampler = async (run, isAsync, { timeMs, leastSamples, warmUp }) => {
  const { Bench } = await import("tinybench");
  const bench = new Bench({
    time: timeMs,
    iterations: leastSamples,
    warmup: warmUp !== undefined,
    ...(warmUp && { warmupTime: warmUp.timeMs, warmupIterations: warmUp.runs }),
    subtractTimerOverhead: true,
    throws: true,
  });
  const told = (ms: number | undefined): { overriddenDuration: number } | undefined => (ms === undefined ? undefined : { overriddenDuration: ms });
  // A synchronous run must stay one: a promise costs more than a small call.
  bench.add("task", isAsync ? async () => told(await run()) : () => told(run() as number | undefined), { async: isAsync });
  await bench.run();
  const result = bench.tasks[0]?.result;
  if (result?.state !== "completed") throw new Error(`a timed run ended in state "${result?.state}"`);
  return { medianMs: result.latency.p50, count: result.latency.samplesCount };
};

const inLoop = async (run: Run, { timeMs, leastSamples, warmUp }: SamplingPlan): Promise<Samples> => {
  if (warmUp !== undefined) {
    const end = performance.now() + warmUp.timeMs;
    for (let i = 0; i < warmUp.runs || performance.now() < end; i++) await run();
  }
  const samples: number[] = [];
  const end = performance.now() + timeMs;
  while (samples.length < leastSamples || performance.now() < end) {
    const before = performance.now();
    const running = run();
    const told = running instanceof Promise ? await running : running;
    samples.push(told ?? performance.now() - before);
  }
  return { medianMs: median(samples), count: samples.length };
};
