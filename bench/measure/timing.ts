import { Bench } from "tinybench";

/** Something to time. */
export interface Task {
  readonly run: () => unknown;
  /** Milliseconds of one call by a clock of its own; takes the place of `run` once that is warm. */
  readonly time?: (() => Promise<number>) | undefined;
  /** Calls per sample. */
  readonly batch: number;
}

/** How long to look. */
export interface TimingPlan {
  readonly rounds: number;
  /** Time for one task in one round, and the least samples it takes there. */
  readonly roundMs: number;
  readonly roundSamples: number;
  /** Time for one task in all rounds, if its calls are long: it then takes fewer samples, and no part in the last rounds. */
  readonly taskMs: number;
  /** Least and most time that a task is run before it is timed. */
  readonly warmMs: number;
  readonly warmLimitMs: number;
}

export const FULL: TimingPlan = { rounds: 5, roundMs: 100, roundSamples: 5, taskMs: 3000, warmMs: 250, warmLimitMs: 2000 };
export const QUICK: TimingPlan = { rounds: 3, roundMs: 20, roundSamples: 3, taskMs: 400, warmMs: 60, warmLimitMs: 400 };

/** Milliseconds per call. */
export interface Timing {
  /** The median of the rounds' medians. */
  readonly ms: number;
  /** Nine samples in ten took no longer. */
  readonly p90Ms: number;
  readonly roundsMs: readonly number[];
  readonly samples: number;
}

/**
 * Times tasks against each other. Each is warmed until it no longer gets faster; then all take turns for a few rounds, so that
 * a machine that slows down for a while slows all of them, and ratios stay fair.
 */
export async function timeTasks(tasks: readonly Task[], plan: TimingPlan): Promise<readonly Timing[]> {
  const warmed = [];
  for (const task of tasks) warmed.push(await warm(task, plan));
  const timed = warmed.map((each) => ({ ...each, roundsMs: [] as number[], samples: [] as number[] }));
  for (let round = 0; round < plan.rounds; round++) {
    for (const { task, isAsync, callMs, roundsMs, samples } of timed) {
      const sampleMs = callMs * task.batch;
      if ((samples.length + 1) * sampleMs > plan.taskMs && round > 0) continue;
      const { p50, samples: taken = [] } = await timeRound(task, isAsync, sampleMs, plan);
      roundsMs.push(p50 / task.batch);
      samples.push(...taken.map((ms) => ms / task.batch));
    }
  }
  return timed.map(({ roundsMs, samples }) => ({ ms: quantile(roundsMs, 0.5), p90Ms: quantile(samples, 0.9), roundsMs, samples: samples.length }));
}

async function timeRound(task: Task, isAsync: boolean, sampleMs: number, plan: TimingPlan) {
  const bench = new Bench({
    time: plan.roundMs,
    iterations: Math.max(1, Math.min(plan.roundSamples, Math.floor(plan.taskMs / plan.rounds / sampleMs))),
    // Compiling is over by now; this brings data and branch history back.
    warmup: sampleMs <= plan.roundMs / 4,
    warmupTime: plan.roundMs / 10,
    warmupIterations: 2,
    subtractTimerOverhead: true,
    retainSamples: true,
    throws: true,
  });
  bench.add("task", sampleOf(task, isAsync), { async: isAsync });
  await bench.run();
  const result = bench.tasks[0]?.result;
  if (result?.state !== "completed") throw new Error(`a timed run ended in state "${result?.state}"`);
  return result.latency;
}

/** One sample: `batch` calls. A synchronous run must stay one: a promise costs more than a small call. */
function sampleOf({ run, time, batch }: Task, isAsync: boolean): () => unknown {
  if (time !== undefined) return async () => ({ overriddenDuration: batch * (await time()) });
  if (isAsync) {
    return async () => {
      for (let i = 0; i < batch; i++) await run();
    };
  }
  return () => {
    for (let i = 0; i < batch; i++) run();
  };
}

/** Results within 5% count as equal. */
const STABLE = 0.05;

/**
 * Runs a task until two windows in a row are no faster than the best before them. The first calls of WebAssembly run in V8's
 * baseline compiler, several times slower, until a background thread has the optimised code, which can take 100 ms and more.
 * A call that takes all the time there is to warm up is not repeated. A task with its own clock makes many calls for one figure.
 * Gives about how long a call takes.
 */
async function warm(task: Task, plan: TimingPlan) {
  const start = performance.now();
  const first = task.run();
  const isAsync = first instanceof Promise || task.time !== undefined;
  await first;
  const callsAtOnce = task.time === undefined ? 1 : task.batch;
  let best = performance.now() - start;
  if (best > plan.warmLimitMs) return { task, isAsync, callMs: best / callsAtOnce };
  best = Infinity;
  const run = task.time ?? ((): unknown => task.run());
  let stable = task.time === undefined ? 0 : 2;
  while (performance.now() - start < plan.warmMs || (stable < 2 && performance.now() - start < plan.warmLimitMs)) {
    const windowEnd = performance.now() + plan.warmMs / 4;
    const calls: number[] = [];
    do {
      const before = performance.now();
      if (isAsync) await run();
      else run();
      calls.push(performance.now() - before);
    } while (performance.now() < windowEnd);
    const now = quantile(calls, 0.5);
    stable = now > best * (1 - STABLE) ? stable + 1 : 0;
    best = Math.min(best, now);
    // Engines install finished code, and libraries clean up, between turns of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { task, isAsync, callMs: best / callsAtOnce };
}

/** The value below which a part of all values lies, interpolated between the two nearest. NaN for none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = part * (sorted.length - 1);
  const [low = NaN, high = NaN] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
}
