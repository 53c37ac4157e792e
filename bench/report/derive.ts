import { geometricMean } from "../statistics.ts";
import type { BenchReport, CaseResult, Measurement, SuiteResult } from "./results.ts";
import type { Limit, WorkingMemory } from "../contender.ts";
import type { DispatchReport } from "../engine/dispatch-report.ts";
import { percent, size } from "./format.ts";

// What the reports say beyond the raw figures. All of them compute it here, so that they agree.

/** The one that ratios are taken of; undefined if it failed. */
export function leadOf(result: CaseResult): Measurement | undefined {
  return result.measurements.find(({ lead }) => lead);
}

/** Names of a case's limits, each once. */
export function limitNames({ limits }: CaseResult): readonly string[] {
  return [...new Set(limits.map(({ name }) => name))];
}

/** The limit of that name that is a contender's: its binary's, where binaries differ; others have the lead's. */
export function limitNamed(result: CaseResult, name: string, m: Measurement | undefined = leadOf(result)): Limit | undefined {
  const variant = m?.variant ?? leadOf(result)?.variant;
  return result.limits.find((limit) => limit.name === name && (limit.variant === undefined || limit.variant === variant));
}

/** A contender's limit that binds, or the lead's: the lowest. */
export function limitOf(result: CaseResult, m: Measurement | undefined = leadOf(result)): Limit | undefined {
  const limits = limitNames(result).map((name) => limitNamed(result, name, m));
  return limits.reduce<Limit | undefined>((low, limit) => (limit !== undefined && (low === undefined || limit.rate < low.rate) ? limit : low), undefined);
}

/** The limit that a suite is shown against: its peak if it has one, the one that binds if not. */
export function limitShown({ peak }: Pick<SuiteResult, "peak">, result: CaseResult, m: Measurement | undefined = leadOf(result)): Limit | undefined {
  return peak === undefined ? limitOf(result, m) : limitNamed(result, peak, m);
}

/** Time of one call relative to the lead's, where a suite compares that. */
export function costOf(result: CaseResult, m: Measurement): number {
  return m.timing.ms / (leadOf(result)?.timing.ms ?? NaN);
}

/** Rate relative to the lead's, where a suite compares that. */
export function speedUpOf(result: CaseResult, m: Measurement): number {
  return m.rate / (leadOf(result)?.rate ?? NaN);
}

/** How many times as fast as `other` the lead is. */
export function ratioTo(result: CaseResult, other: Measurement | undefined): number | undefined {
  const lead = leadOf(result);
  return lead === undefined || other === undefined ? undefined : lead.rate / other.rate;
}

/** Half the distance between the fastest and the slowest round, relative to the median: how noisy the figure is. NaN for a single round. */
export function noiseOf({ timing }: Measurement): number {
  if (timing.roundsMs.length < 2) return NaN;
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

/** A limit whose loop works in registers has no bytes per second. */
export function isRegisterLimit({ group, variant }: Measurement): boolean {
  return group === "limit" && variant !== undefined;
}

/** What a call of onepass works in, against the matrix it does without. */
export function memoryText({ scratchBytes, plainBytes, matrixBytes }: WorkingMemory): string {
  return `working memory ${size(scratchBytes)}, with plain arrays ${size(plainBytes)}; the matrix of scores would be ${size(matrixBytes)}`;
}

/** A GPU's name, and its driver where that is not in the name. */
export function gpuText({ name, driver }: { readonly name: string; readonly driver: string }): string {
  return driver === "" || driver === name ? name : `${name} (${driver})`;
}

/** How often `auto` chose the faster side. */
export function rightText({ calls, judged, right }: DispatchReport): string {
  const share = judged === 0 ? "" : ` (${percent(right / judged)})`;
  return `auto: of ${calls.length} calls timed on both sides, ${judged} differ by more than 1.5×; ${right} of these went to the faster side${share}`;
}

/** Who did not take part in a case, a text per reason. */
export function skippedTexts({ skipped }: CaseResult): readonly string[] {
  const reasons = [...new Set(skipped.map(({ reason }) => reason))];
  return reasons.map((reason) => {
    const names = skipped.filter((each) => each.reason === reason).map(({ contender }) => contender);
    return `without ${names.map((name) => (names.length > 1 && name.includes(",") ? `“${name}”` : name)).join(", ")}: ${reason}`;
  });
}
