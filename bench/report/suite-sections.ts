import type { Timing } from "../measure/timing.ts";
import type { Absent, CaseResult, Measurement } from "../measure/run.ts";
import { labelOf, leadOf, limitNamed, limitOf, measurementNamed, ratioTo, standingsOf, type SuiteResult } from "./comparison.ts";
import { formatted } from "./format.ts";
import type { Cell, Chart, Section, Table, Unit } from "./report.ts";

// What a suite found, as sections of the report.

const isLimit = ({ group }: Measurement): boolean => group === "limit";

/** Everything that was measured in one case. */
export function caseTable({ unit, compares }: Pick<SuiteResult, "unit" | "compares">, result: CaseResult): Table {
  const lead = leadOf(result);
  const name = lead?.name ?? "the lead";
  const limits = [...new Set(result.limits.map((limit) => limit.name))];
  const [hasRate, hasRatio] = [compares === "rate" || compares === "cost", compares === "rate" || compares === "time"];
  const noiseOf = ({ timing: { ms, roundsMs } }: Measurement): number => (Math.max(...roundsMs) - Math.min(...roundsMs)) / 2 / ms;
  type Column = readonly [isWanted: boolean, title: string, unit: Unit, cell: (m: Measurement) => Cell];
  const limitColumn = (limit: string): Column => [
    true,
    `of ${limit}`,
    "%",
    (m) => (isLimit(m) ? undefined : m.rate / (limitNamed(result, limit, m)?.rate ?? NaN)),
  ];
  const columns: readonly Column[] = [
    [true, "", "text", labelOf],
    [compares === "cost", `of ${name}`, "%", (m) => compared(compares, result, m)],
    [compares === "speed-up", `× ${name}`, "×", (m) => compared(compares, result, m)],
    [hasRate, unit, unit, (m) => m.rate / 1e9],
    // A loop that works in registers has no bytes per second.
    [compares === "rate" && unit !== "GB/s", "GB/s", "GB/s", (m) => (isLimit(m) && m.variant !== undefined ? undefined : m.bytesPerSecond / 1e9)],
    ...limits.map(limitColumn),
    [true, "per call", "ms", ({ timing }) => ({ median: timing.ms, p90: timing.p90Ms })],
    [compares === "time", `more than ${name}`, "ms", (m) => (m.lead ? undefined : m.timing.ms - (lead?.timing.ms ?? NaN))],
    [hasRatio, `${name} is`, "×", (m) => (m.lead || isLimit(m) ? undefined : ratioTo(result, m))],
    [true, "±", "%", (m) => (m.timing.roundsMs.length < 2 ? undefined : noiseOf(m))],
    [true, "max error", "error", (m) => (isLimit(m) ? undefined : m.maxError)],
    [true, "samples", "number", ({ timing }) => timing.samples],
  ];
  const shown = columns.filter(([isWanted]) => isWanted);
  return {
    title: result.name,
    about: result.what,
    columns: Object.fromEntries(shown.map(([, title, of]) => [title, of])),
    rows: result.measurements.map((m) => ({ cells: shown.map(([, , , cell]) => cell(m)), role: m.lead ? "lead" : isLimit(m) ? "limit" : undefined })),
    notes: [...result.measurements.flatMap(({ name: of, note }) => (note === undefined ? [] : [`${of}: ${note}`])), ...skippedTexts(result.skipped)],
    errors: result.failures.map((failure) => `${labelOf(failure)}: ${failure.reason}`),
    isDetail: true,
  };
}

/** Who did not take part in a case, a text per reason. */
function skippedTexts(skipped: readonly Absent[]): readonly string[] {
  const reasons = [...new Set(skipped.map(({ reason }) => reason))];
  const namesOf = (reason: string): readonly string[] => skipped.filter((each) => each.reason === reason).map(({ name }) => name.replaceAll(", ", " "));
  return reasons.map((reason) => `without ${namesOf(reason).join(", ")}: ${reason}`);
}

function inBillions(of: { readonly rate: number } | undefined): number | undefined {
  return of && of.rate / 1e9;
}

/** What a reader compares: a time or a rate relative to the lead's, or a rate in 10⁹. */
function compared(
  compares: SuiteResult["compares"],
  result: CaseResult,
  of: { readonly rate: number; readonly timing?: Timing } | undefined,
): number | undefined {
  const lead = leadOf(result);
  if (compares === "cost") return of?.timing && lead && of.timing.ms / lead.timing.ms;
  return compares === "speed-up" ? of && lead && of.rate / lead.rate : inBillions(of);
}

/** A heading with the charts of a suite, then its tables: summaries, and every case. */
export function suiteSections(suite: SuiteResult, machine: string): readonly Section[] {
  const { title, about, cases, compares } = suite;
  return [
    { title, text: [about, errorText(suite)], charts: compares === "time" ? [] : [...overview(suite, machine), everything(suite)] },
    ...(compares === "rate" ? versus(suite) : []),
    ...memory(cases),
    { title: "All figures", isSub: true, tables: cases.map((result) => caseTable(suite, result)) },
  ];
}

/** Largest errors, by who made them. */
function errorText({ cases }: SuiteResult): string {
  const measured = cases.flatMap(({ measurements }) => measurements).filter((m) => !isLimit(m));
  const whoOf = ({ group, name }: Measurement): string => (group === "onepass" ? group : name);
  const worst = (who: string): number => Math.max(...measured.filter((m) => whoOf(m) === who).map(({ maxError }) => maxError));
  const errors = [...new Set(measured.map(whoOf))].map((who) => `${who} ${formatted(worst(who), "error")}`);
  return `Largest error against float64: ${errors.join(", ")}.`;
}

type Series = Chart["series"][number];

/** A value per case, of which a chart shows three digits. */
function seriesOf(cases: readonly CaseResult[], name: string, valueOf: (result: CaseResult, i: number) => number | undefined, isLine = false): Series {
  const values = cases.map(valueOf).map((value) => (value === undefined ? null : Number(value.toPrecision(3))));
  return { name, values, isLimit: isLine };
}

/** What a case is called below an axis: its model and its shape, in lines. */
function categoryOf({ name, what }: CaseResult): string {
  const model = /^[^:,]{1,12}(?=[:,]|$)/.exec(what)?.[0];
  return [...(model === undefined ? [] : [model]), ...name.split(/,? /)].join("\n");
}

function namesOf(cases: readonly CaseResult[], isWanted: (m: Measurement) => boolean, nameOf: (m: Measurement) => string = labelOf): readonly string[] {
  return [...new Set(cases.flatMap(({ measurements }) => measurements.filter(isWanted).map((m) => nameOf(m))))];
}

/** Suites whose picture is a file as well, for READMEs: the lead, other libraries, and the limit that the suite has. */
const PICTURED = ["softmax", "attention"];

function overview({ id, title, unit, peak, cases }: SuiteResult, machine: string): readonly Chart[] {
  if (!PICTURED.includes(id)) return [];
  type Find = (result: CaseResult) => { readonly rate: number } | undefined;
  const rates = (name: string, find: Find, isLine = false): Series => seriesOf(cases, name, (result) => inBillions(find(result)), isLine);
  const lead = cases.map(leadOf).find((m) => m !== undefined);
  const baseline: Find = ({ measurements }) => measurements.find(({ name, variant }) => name === lead?.name && variant !== lead.variant);
  const others = namesOf(cases, ({ group }) => group === "javascript" || group === "peer");
  const series = [rates("onepass", leadOf), ...others.map((name) => rates(name, (result) => measurementNamed(result, name)))];
  if (peak !== undefined) series.splice(1, 0, rates("onepass, baseline SIMD", baseline));
  if (peak !== undefined) series.push(rates(peak, (result) => limitNamed(result, peak), true));
  const about = `one thread, ${machine}`;
  return [{ title: `${title}: ${unit}, higher is better`, about, unit, categories: cases.map(categoryOf), series, file: `${id}.svg` }];
}

/** Every contender on every case, and the limit. Of the baseline binary only the lead's algorithm is drawn; the tables have all. */
function everything({ id, title, unit, compares, peak, cases }: SuiteResult): Chart {
  const leads = cases.map((result) => leadOf(result)?.name);
  // Where cases are of one binary each, its name stands below the axis.
  const nameOf = (m: Measurement): string => (compares === "cost" ? m.name : labelOf(m));
  const names = namesOf(cases, (m) => !isLimit(m) && (m.variant !== "baseline" || leads.includes(m.name) || compares === "cost"), nameOf);
  const find = (result: CaseResult, name: string): Measurement | undefined => result.measurements.find((m) => nameOf(m) === name);
  const series = names.map((name) => seriesOf(cases, name, (result) => compared(compares, result, find(result, name))));
  const limit = seriesOf(cases, peak ?? "lowest limit", (result) => compared(compares, result, limitOf(result, peak)), true);
  const isRelative = compares === "cost" || compares === "speed-up";
  return {
    title: `${title}: ${isRelative ? `relative to ${leads[0]}` : unit}, ${compares === "cost" ? "lower" : "higher"} is better`,
    unit: compares === "cost" ? "%" : isRelative ? "×" : unit,
    isLogarithmic: id.startsWith("engine-"),
    categories: cases.map(categoryOf),
    series: [...series, limit].filter(({ values }) => values.some((value) => value !== null)),
  };
}

/** How many times as fast as others the lead is. */
function versus(suite: SuiteResult): readonly Section[] {
  const { unit, cases, peak } = suite;
  const lead = cases.map(leadOf).find((m) => m !== undefined);
  const standings = standingsOf(suite);
  if (lead === undefined || standings.length === 0) return [];
  const title = `${labelOf(lead)}: how many times as fast as others`;
  const rows = cases.map((result, i) => {
    const [own, limit] = [leadOf(result), limitOf(result, peak)];
    return { cells: [result.name, own && own.rate / 1e9, own && limit && own.rate / limit.rate, ...standings.map(({ ratios }) => ratios[i])] };
  });
  const means = { cells: ["geometric mean", undefined, undefined, ...standings.map(({ mean }) => mean)], role: "limit" as const };
  const against = Object.fromEntries(standings.map(({ rival }) => [`× ${rival}`, "×" as const]));
  const columns = { "": "text", [unit]: unit, [`of ${peak ?? "limit"}`]: "%", ...against } as const;
  const chart: Chart = {
    ...{ title: `${title}, higher is better`, unit: "×", isLogarithmic: true, categories: cases.map(categoryOf) },
    series: [...standings.map(({ rival, ratios }) => seriesOf(cases, rival, (_, i) => ratios[i])), seriesOf(cases, "same speed", () => 1, true)],
  };
  return [{ title: "Against others", isSub: true, charts: [chart], tables: [{ title, columns, rows: [...rows, means] }] }];
}

/** What each case's call works in, where that was measured. */
function memory(cases: readonly CaseResult[]): readonly Section[] {
  const rows = cases.flatMap(({ name, memory: m }) => (m === undefined ? [] : [{ cells: [name, m.scratchBytes, m.plainBytes, m.matrixBytes] }]));
  if (rows.length === 0) return [];
  const table: Table = {
    title: "Working memory",
    about: "What a call takes beyond inputs and output, and what attention in three steps stores. Of plain arrays, one head at a time is copied in.",
    columns: { "": "text", "tensors in module memory": "bytes", "plain arrays": "bytes", "matrix of scores": "bytes" },
    rows,
  };
  return [{ title: "Memory", isSub: true, tables: [table] }];
}
