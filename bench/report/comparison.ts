import type { Limit, Suite } from "../measure/contender.ts";
import type { CaseResult, Measurement } from "../measure/run.ts";

// What the figures of a case say about each other. Tables and charts compute it here, so that they agree.

/** What was measured of a suite. */
export interface SuiteResult extends Omit<Suite, "cases" | "plan"> {
  readonly cases: readonly CaseResult[];
}

/** The one that ratios are taken of; undefined if it failed. */
export function leadOf({ measurements }: CaseResult): Measurement | undefined {
  return measurements.find(({ lead }) => lead);
}

export function measurementNamed({ measurements }: CaseResult, name: string): Measurement | undefined {
  return measurements.find((m) => m.name === name);
}

/** The limit of that name that is a contender's: its binary's, where binaries differ; others have the lead's. */
export function limitNamed(result: CaseResult, name: string, m = leadOf(result)): Limit | undefined {
  const variant = m?.variant ?? leadOf(result)?.variant;
  return result.limits.find((limit) => limit.name === name && (limit.variant === undefined || limit.variant === variant));
}

/** The limit that the lead is shown against: the suite's peak if it has one, the lowest if not. */
export function limitOf(result: CaseResult, peak: string | undefined): Limit | undefined {
  const names = peak === undefined ? result.limits.map(({ name }) => name) : [peak];
  return names.flatMap((name) => limitNamed(result, name) ?? []).sort((a, b) => a.rate - b.rate)[0];
}

/** How many times as fast as `other` the lead is. */
export function ratioTo(result: CaseResult, other: Measurement | undefined): number | undefined {
  const lead = leadOf(result);
  return lead && other && lead.rate / other.rate;
}

/** "auto · relaxed", "onnxruntime-web". */
export function labelOf({ name, variant }: Pick<Measurement, "name" | "variant">): string {
  return variant === undefined ? name : `${name} · ${variant}`;
}

/**
 * The lead against everything that is not onepass and not a limit, in order of appearance: on each case, `undefined` where only one of
 * the two took part, and the geometric mean.
 */
export function standingsOf({ cases }: SuiteResult) {
  const all = cases.flatMap(({ measurements }) => measurements);
  const rivals = new Set(all.filter(({ group }) => group === "javascript" || group === "peer").map(({ name }) => name));
  return [...rivals].map((rival) => {
    const ratios = cases.map((result) => ratioTo(result, measurementNamed(result, rival)));
    const found = ratios.filter((ratio) => ratio !== undefined);
    const mean = Math.exp(found.reduce((sum, ratio) => sum + Math.log(ratio), 0) / found.length);
    return { rival, ratios, count: found.length, mean };
  });
}
