import { DECODE_8192, DENSE, SMALL_HEADS, SMALL_ROWS, SQUARE, type Shape } from "../../test/cases/shapes.ts";
import type { EngineContext } from "../contenders/context.ts";
import { startLoneWorkers } from "../contenders/lone-workers.ts";
import { inMemory, onArrays, onepass } from "../contenders/onepass.ts";
import type { Engines } from "../engine/engines.ts";
import type { BenchCase, Contender, Suite } from "../measure/contender.ts";
import { amountOf, type Call } from "../measure/problem.ts";
import type { TimingPlan } from "../measure/timing.ts";
import { toleranceOf } from "../measure/verify.ts";

// One thread against all, and against as many single-thread workers that know nothing of each other: the machine's own limit, since
// cores share memory, caches and power.

/** Fifteen turns of one sample each: the median of interleaved pairs. */
const PAIRS: TimingPlan = { rounds: 15, roundMs: 0, roundSamples: 1, taskMs: 60_000, warmMs: 250, warmLimitMs: 1500 };
const QUICK_PAIRS: TimingPlan = { ...PAIRS, rounds: 5, warmMs: 60, warmLimitMs: 400 };
/** Microseconds want more than one sample a turn. */
const SMALL_PAIRS: TimingPlan = { ...PAIRS, roundMs: 10, roundSamples: 5 };
const SMALL_BATCH = 100;

const lone = (threads: number): string => `${threads} lone workers`;

/** Large calls: how much faster all threads are, and how much of what is possible that is. */
export function threadsSuite({ engines, quick }: EngineContext): Suite {
  const { threads, reasons } = engines;
  // In samples of less than 50 to 200 ms, workers that wake and caches that are cold weigh too much.
  const large = ({ name, what, call }: Shape, batch: number): BenchCase => ({
    ...{ name: `${call.op} ${name}`, what, call, batch },
    contenders: () => [...onThreads(engines), ...(threads > 1 ? [loneWorkers(threads, call, batch)] : [])],
  });
  const off = reasons.length === 0 ? "" : ` ${reasons.join("; ")}.`;
  return {
    id: "threads",
    title: "Engine: one thread against all",
    about: `f32, throughput relative to one thread; medians of ${quick ? QUICK_PAIRS.rounds : PAIRS.rounds} turns that each contender takes in every round. Tensors are in the engine's memory, unless a row says otherwise. Peak: ${threads} workers on one thread each, which compute the same by themselves.${off}`,
    unit: "Gelem/s",
    compares: "speed-up",
    peak: lone(threads),
    plan: quick ? QUICK_PAIRS : PAIRS,
    cases: [large(DENSE, 1), large(DECODE_8192, 16), large(SQUARE, 256)],
  };
}

/** Calls too small to be divided: what having threads costs them. */
export function smallThreadsSuite({ engines, quick }: EngineContext): Suite {
  return {
    id: "threads-small",
    title: "Engine: calls too small for threads",
    about: "Time of one call, with its promise. What threads add to it is to be below 5 µs.",
    unit: "Gelem/s",
    compares: "time",
    plan: quick ? QUICK_PAIRS : SMALL_PAIRS,
    cases: [...SMALL_ROWS, ...SMALL_HEADS].map(({ name, what, call }) => ({
      ...{ name: `${call.op} ${name}`, what, call, batch: SMALL_BATCH },
      contenders: () => onThreads(engines),
    })),
  };
}

function onThreads({ single, all, threads, reasons }: Engines): readonly Contender[] {
  const skipped = threads > 1 ? undefined : (reasons[0] ?? "the machine has one core");
  const several = threads > 1 ? `${threads} threads` : "all threads";
  return [
    { ...onepass(single, "1 thread", inMemory), lead: true },
    { ...onepass(all, several, inMemory), skipped },
    onepass(single, "1 thread, plain arrays", onArrays),
    { ...onepass(all, `${several}, plain arrays`, onArrays), skipped },
  ];
}

/** As many workers as threads, each with its own call at the same time. */
function loneWorkers(threads: number, call: Call, calls: number): Contender {
  return {
    name: lone(threads),
    group: "limit",
    note: "each with the whole call, throughputs added",
    amount: threads * amountOf(call),
    tolerance: (problem) => toleranceOf(problem, "wasm"),
    prepare: (problem) => startLoneWorkers(threads, { problem, calls }),
  };
}
