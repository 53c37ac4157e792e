import type { BenchCase, Contender, Limit, WorkingMemory } from "./contender.ts";
import { amountOf, bytesOf, draw, heated, reference, type Problem } from "./problem.ts";
import { timeTasks, type Timing, type TimingPlan } from "./timing.ts";
import { compare, verify, verifyOverflow } from "./verify.ts";

/** One contender on one case, verified and timed. */
export interface Measurement extends Pick<Contender, "name" | "group" | "variant" | "note"> {
  /** Ratios are taken of this one. */
  readonly lead: boolean;
  readonly timing: Timing;
  /** Largest error against float64, relative. */
  readonly maxError: number;
  /** Amount of work per second. */
  readonly rate: number;
  readonly bytesPerSecond: number;
}

/** A contender that gave a wrong result, or did not take part, and why. */
export interface Absent extends Pick<Contender, "name" | "variant"> {
  readonly reason: string;
}

/** What was measured of one case. */
export interface CaseResult {
  readonly name: string;
  readonly what: string;
  readonly limits: readonly Limit[];
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Absent[];
  readonly skipped: readonly Absent[];
  readonly memory?: WorkingMemory | undefined;
}

/** A contender whose first result was right. */
type Verified = Awaited<ReturnType<typeof verified>>;

/** Verifies every contender of a case, times those that are right, and verifies them again: the optimised code is other code. */
export async function runCase(bench: BenchCase, plan: TimingPlan): Promise<CaseResult> {
  const { name, what, call, limits = [], batch = 1 } = bench;
  const problem = draw(call);
  const hot = heated(problem);
  const [want, hotWant] = [reference(problem), reference(hot)];
  const failures: Absent[] = [];
  const skipped: Absent[] = [];
  const fail = (contender: Contender, when: string, error: unknown): void => {
    failures.push({ name: contender.name, variant: contender.variant, reason: when + (error instanceof Error ? error.message : String(error)) });
  };

  const right: Verified[] = [];
  try {
    for (const contender of bench.contenders()) {
      if (contender.skipped !== undefined) {
        skipped.push({ name: contender.name, variant: contender.variant, reason: contender.skipped });
        continue;
      }
      let when = "on hot input: ";
      try {
        if (contender.group !== "limit") (await verified(contender, hot, hotWant)).runner.dispose?.();
        when = "";
        right.push(await verified(contender, problem, want));
      } catch (error) {
        fail(contender, when, error);
      }
    }

    const timings = await timeTasks(
      right.map(({ runner }) => ({ run: () => runner.run(), time: runner.time?.bind(runner), batch })),
      plan,
    );

    const measurements: Measurement[] = [];
    for (const [i, { contender, maxError, check }] of right.entries()) {
      const timing = timings[i];
      if (timing === undefined) continue;
      try {
        await check();
        const { name: own, group, variant, note, lead = false, amount = bench.amount ?? amountOf(call) } = contender;
        const perSecond = 1000 / timing.ms;
        const figures = { timing, maxError, rate: amount * perSecond, bytesPerSecond: bytesOf(call) * perSecond };
        measurements.push({ name: own, group, variant, note, lead, ...figures });
      } catch (error) {
        fail(contender, `after ${timing.samples} samples: `, error);
      }
    }
    const loops = measurements.filter(({ group }) => group === "limit").map(({ name: limit, variant, rate }) => ({ name: limit, variant, rate }));
    return { name, what, limits: [...limits, ...loops], measurements, failures, skipped, memory: bench.memory?.() };
  } finally {
    for (const { runner } of right) runner.dispose?.();
  }
}

/** Sets a contender up on a problem and verifies its first result. */
async function verified(contender: Contender, given: Problem, want: Float64Array) {
  const problem = contender.adapt?.(given) ?? given;
  const right = contender.expected?.(problem) ?? (contender.adapt === undefined ? want : reference(problem));
  const runner = await contender.prepare(problem);
  /** Clears the output, calls and compares; gives the largest error, or throws. */
  const check = async (): Promise<number> => {
    runner.clear?.();
    await runner.run();
    const got = await runner.read();
    if (contender.overflows === true && given.heat > 0) verifyOverflow(got);
    else if (contender.expected !== undefined) return compare(got, right, contender.tolerance(problem), 1);
    else return verify(got, right, problem, contender.tolerance(problem));
    return NaN;
  };
  try {
    return { contender, runner, maxError: await check(), check };
  } catch (error) {
    runner.dispose?.();
    throw error;
  }
}
