import type { BenchCase, Contender, Runner } from "./contender.ts";
import type { CaseResult, Failure, Measurement } from "./report/results.ts";
import { timeTasks, type TimingPlan } from "./timing.ts";
import { verify, verifyOverflow, type Verdict } from "./verify.ts";

interface Verified<Input> {
  readonly contender: Contender<Input>;
  readonly runner: Runner;
  readonly maxError: number;
  readonly judge: (got: Float32Array) => Verdict;
}

/** Verifies every contender of a case, times those that are right, and verifies them again: the optimised code is other code. */
export async function runCase<Input>(bench: BenchCase<Input>, plan: TimingPlan): Promise<CaseResult> {
  const input = bench.input();
  const want = bench.reference(input);
  const failures: Failure[] = [];
  const fail = (contender: Contender<Input>, message: string): void => {
    failures.push({ contender: contender.name, variant: contender.variant, message });
  };

  const judge = (contender: Contender<Input>) => {
    const expected = contender.expected?.(input) ?? want;
    return (got: Float32Array): Verdict => verify(sampleOf(bench, contender, got, input), expected, contender.tolerance(input), bench.errorFloor);
  };

  const invited = bench.contenders();
  const contenders = invited.filter(({ skipped }) => skipped === undefined);
  const skipped = invited.flatMap(({ name, variant, skipped: reason }) => (reason === undefined ? [] : [{ contender: name, variant, reason }]));
  await checkHot(bench, contenders, input, fail);
  const right: Verified<Input>[] = [];
  try {
    for (const contender of contenders.filter((c) => !failures.some((f) => f.contender === c.name && f.variant === c.variant))) {
      const runner = await attempt(contender, input, fail);
      if (runner === undefined) continue;
      const judged = judge(contender);
      const verdict = await check(runner, judged);
      if (verdict.ok) right.push({ contender, runner, maxError: verdict.maxError, judge: judged });
      else {
        fail(contender, verdict.message);
        runner.dispose?.();
      }
    }

    const batch = bench.batch ?? 1;
    const timings = await timeTasks(
      right.map(({ runner }) => ({ run: () => runner.run(), time: runner.time?.bind(runner), batch })),
      plan,
    );

    const measurements: Measurement[] = [];
    for (const [i, { contender, runner, maxError, judge: judged }] of right.entries()) {
      const timing = timings[i];
      const after = await check(runner, judged);
      if (!after.ok) fail(contender, `after ${timing?.samples} runs: ${after.message}`);
      else if (timing !== undefined) {
        const { name, group, variant, note, lead = false, whenHot } = contender;
        const seconds = timing.ms / 1000;
        measurements.push({
          ...{ name, group, variant, note, lead, overflows: whenHot === "overflow" },
          ...{ timing, maxError, rate: (contender.amount ?? bench.work.amount) / seconds, bytesPerSecond: bench.work.bytes / seconds },
        });
      }
    }
    const limits = [...bench.limits, ...measurements.filter((m) => m.group === "limit").map(({ name, variant, rate }) => ({ name, variant, rate }))];
    const { name, what, label, work } = bench;
    return { name, what, label, work, limits, measurements, failures, skipped, memory: bench.memory?.() };
  } finally {
    for (const { runner } of right) runner.dispose?.();
  }
}

/** Runs each contender once on values for which exp overflows unless the max is subtracted first. */
async function checkHot<Input>(
  bench: BenchCase<Input>,
  contenders: readonly Contender<Input>[],
  input: Input,
  fail: (contender: Contender<Input>, message: string) => void,
): Promise<void> {
  const hot = bench.hotInput?.(input);
  if (hot === undefined) return;
  const want = bench.reference(hot);
  const hotWant = (contender: Contender<Input>): Float64Array => contender.expected?.(hot) ?? want;
  for (const contender of contenders.filter((c) => c.group !== "limit")) {
    const runner = await attempt(contender, hot, fail);
    if (runner === undefined) continue;
    const verdict = await check(runner, (got) =>
      contender.whenHot === "overflow"
        ? verifyOverflow(got)
        : verify(sampleOf(bench, contender, got, hot), hotWant(contender), contender.tolerance(hot), bench.errorFloor),
    );
    if (!verdict.ok) fail(contender, `on hot input: ${verdict.message}`);
    runner.dispose?.();
  }
}

/** What of a result is compared. A limit with a result of its own is compared as a whole. */
function sampleOf<Input>(bench: BenchCase<Input>, contender: Contender<Input>, got: Float32Array, input: Input): Float32Array {
  return contender.expected !== undefined && contender.group === "limit" ? got : (bench.sample?.(got, input) ?? got);
}

async function attempt<Input>(contender: Contender<Input>, input: Input, fail: (c: Contender<Input>, message: string) => void): Promise<Runner | undefined> {
  try {
    return await contender.prepare(input);
  } catch (error) {
    fail(contender, `could not be set up: ${String(error)}`);
    return undefined;
  }
}

async function check(runner: Runner, judge: (got: Float32Array) => Verdict): Promise<Verdict> {
  try {
    runner.clear?.();
    await runner.run();
    return judge(await runner.read());
  } catch (error) {
    return { ok: false, maxError: NaN, message: String(error) };
  }
}
