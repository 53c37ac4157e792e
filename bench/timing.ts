import { sample, type Run, type Samples } from "./sampling.ts";
import { median } from "./statistics.ts";

/** Something to time. */
export interface Task {
  run(): unknown;
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
  readonly roundsMs: readonly number[];
  readonly samples: number;
}

/**
 * Times tasks against each other. Each is warmed until it no longer gets faster; then all take turns for a few rounds, so that
 * a machine that slows down for a while slows all of them, and ratios stay fair.
 */
export async function timeTasks(tasks: readonly Task[], plan: TimingPlan): Promise<readonly Timing[]> {
  const warmed: Warmed[] = [];
  for (const task of tasks) warmed.push(await warm(task, plan));

  const rounds = tasks.map((): number[] => []);
  const samples = tasks.map(() => 0);
  for (let round = 0; round < plan.rounds; round++) {
    for (const [i, task] of tasks.entries()) {
      const { isAsync = false, callMs = 0 } = warmed[i] ?? {};
      const sampleMs = callMs * task.batch;
      if (((samples[i] ?? 0) + 1) * sampleMs > plan.taskMs && round > 0) continue;
      const { medianMs, count } = await timeRound(task, isAsync, sampleMs, plan);
      rounds[i]?.push(medianMs / task.batch);
      samples[i] = (samples[i] ?? 0) + count;
    }
  }
  return rounds.map((roundsMs, i) => ({ ms: median(roundsMs), roundsMs, samples: samples[i] ?? 0 }));
}

function timeRound(task: Task, isAsync: boolean, sampleMs: number, plan: TimingPlan): Promise<Samples> {
  const isLong = sampleMs > plan.roundMs / 4;
  return sample(sampleOf(task, isAsync), isAsync, {
    timeMs: plan.roundMs,
    leastSamples: Math.max(1, Math.min(plan.roundSamples, Math.floor(plan.taskMs / plan.rounds / sampleMs))),
    // Compiling is over by now.
    warmUp: isLong ? undefined : { timeMs: plan.roundMs / 10, runs: 2 },
  });
}

/** Results within 5% count as equal. */
const STABLE = 0.05;

interface Warmed {
  readonly isAsync: boolean;
  /** A call takes about this long, or what its own clock makes of one takes. */
  readonly callMs: number;
}

/**
 * Runs a task until two windows in a row are no faster than the best before them. The first calls of WebAssembly run in V8's
 * baseline compiler, several times slower, until a background thread has the optimised code, which can take 100 ms and more.
 * A call that takes all the time there is to warm up is not repeated.
 */
async function warm(task: Task, plan: TimingPlan): Promise<Warmed> {
  const start = performance.now();
  const first = task.run();
  const isAsync = first instanceof Promise;
  await first;
  const firstMs = performance.now() - start;
  if (task.time !== undefined) return { isAsync: true, callMs: (await warmOwnClock(task.time, firstMs, plan)) / task.batch };
  if (firstMs > plan.warmLimitMs) return { isAsync, callMs: firstMs };
  let best = Infinity;
  let stable = 0;
  while (performance.now() - start < plan.warmMs || (stable < 2 && performance.now() - start < plan.warmLimitMs)) {
    const windowEnd = performance.now() + plan.warmMs / 4;
    const calls: number[] = [];
    do {
      const before = performance.now();
      if (isAsync) await task.run();
      else task.run();
      calls.push(performance.now() - before);
    } while (performance.now() < windowEnd);
    const now = median(calls);
    stable = now > best * (1 - STABLE) ? stable + 1 : 0;
    best = Math.min(best, now);
    // Engines install finished code, and libraries clean up, between turns of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { isAsync, callMs: best };
}

/** Runs a task with its own clock, which may make many calls for one figure. Gives the milliseconds that it takes for one. */
async function warmOwnClock(time: () => Promise<number>, firstMs: number, plan: TimingPlan): Promise<number> {
  if (firstMs > plan.warmLimitMs) return firstMs;
  const end = performance.now() + plan.warmMs;
  let lastMs: number;
  do {
    const before = performance.now();
    await time();
    lastMs = performance.now() - before;
  } while (performance.now() < end);
  return lastMs;
}

function sampleOf(task: Task, isAsync: boolean): Run {
  const { time, batch } = task;
  if (time !== undefined) return async () => batch * (await time());
  if (isAsync) {
    return async () => {
      for (let i = 0; i < batch; i++) await task.run();
      return undefined;
    };
  }
  return () => {
    for (let i = 0; i < batch; i++) task.run();
    return undefined;
  };
}
