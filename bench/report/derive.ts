import { geometricMean } from "../statistics.ts";
import type { BenchReport, CaseResult, Measurement, SuiteResult } from "./results.ts";
import type { Limit } from "../contender.ts";

// What the reports say beyond the raw figures. All of them compute it here, so that they agree.

/** The one that ratios are taken of; undefined if it failed. */
export function leadOf(result: CaseResult): Measurement | undefined {
  return result.measurements.find(({ lead }) => lead);
}

/** The limit that binds: the lowest. */
export function limitOf(result: CaseResult): Limit | undefined {
  return result.limits.reduce<Limit | undefined>((low, limit) => (low === undefined || limit.rate < low.rate ? limit : low), undefined);
}

/** How many times as fast as `other` the lead is. */
export function ratioTo(result: CaseResult, other: Measurement | undefined): number | undefined {
  const lead = leadOf(result);
  return lead === undefined || other === undefined ? undefined : lead.rate / other.rate;
}

/** Half the distance between the fastest and the slowest round, relative to the median: how noisy the figure is. */
export function noiseOf({ timing }: Measurement): number {
  return (Math.max(...timing.roundsMs) - Math.min(...timing.roundsMs)) / 2 / timing.ms;
}

/** "auto, relaxed SIMD", "onnxruntime-web". */
export function labelOf({ name, variant }: Pick<Measurement, "name" | "variant">): string {
  return variant === undefined ? name : `${name} · ${variant}`;
}

/** Names of everything that is not onepass and not a limit, in order of appearance. */
export function rivalsOf(suite: SuiteResult): readonly string[] {
  const rivals = suite.cases.flatMap(({ measurements }) => measurements.filter(({ group }) => group === "javascript" || group === "peer"));
  return [...new Set(rivals.map(({ name }) => name))];
}

/** The lead against one rival over all cases of a suite. */
export interface Standing {
  readonly rival: string;
  /** Geometric mean. */
  readonly mean: number;
  readonly ratios: readonly CaseRatio[];
}

export interface CaseRatio {
  readonly name: string;
  readonly ratio: number;
}

export function standings(suite: SuiteResult): readonly Standing[] {
  return rivalsOf(suite).map((rival) => {
    const ratios = suite.cases.flatMap((result): CaseRatio[] => {
      const ratio = ratioTo(
        result,
        result.measurements.find(({ name }) => name === rival),
      );
      return ratio === undefined ? [] : [{ name: result.name, ratio }];
    });
    return {
      rival,
      mean: geometricMean(ratios.map(({ ratio }) => ratio)),
      ratios,
    };
  });
}

/** Whether other programs wanted the processor when the run began; figures are rough then. */
export function wasBusy({ environment, loadBefore }: Pick<BenchReport, "environment" | "loadBefore">): boolean {
  return loadBefore > environment.cores * 0.75;
}

/** Every contender that gave a wrong result, with its case. */
export function failuresOf(report: Pick<BenchReport, "suites" | "startUp">): readonly string[] {
  const cases = report.suites.flatMap((suite) =>
    suite.cases.flatMap(({ name, failures }) =>
      failures.map(({ contender, variant, message }) => `${suite.id}, ${name}: ${labelOf({ name: contender, variant })}: ${message}`),
    ),
  );
  return [...cases, ...report.startUp.filter(({ failure }) => failure !== "").map(({ name, failure }) => `start-up: ${name}: ${failure}`)];
}
