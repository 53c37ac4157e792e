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
    [compares === "cost", `of ${name}`, "%", (m) => valueOf(compares, result, m)],
    [compares === "speed-up", `× ${name}`, "×", (m) => valueOf(compares, result, m)],
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
    [result.measurements.some(({ note }) => note !== undefined), "", "text", ({ note }) => note],
  ];
  const shown = columns.filter(([isWanted]) => isWanted);
  return {
    title: result.name,
    about: result.what,
    columns: shown.map(([, title, of]) => ({ title, unit: of })),
    rows: result.measurements.map((m) => ({ cells: shown.map(([, , , cell]) => cell(m)), role: m.lead ? "lead" : isLimit(m) ? "limit" : undefined })),
    notes: skippedTexts(result.skipped),
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

/** What a reader compares: a time or a rate relative to the lead's, or a rate in 10⁹. */
function valueOf(compares: SuiteResult["compares"], result: CaseResult, { rate, timing }: Pick<Measurement, "rate" | "timing">): number {
  const lead = leadOf(result);
  if (compares === "cost") return timing.ms / (lead?.timing.ms ?? NaN);
  return compares === "speed-up" ? rate / (lead?.rate ?? NaN) : rate / 1e9;
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

/** A chart's values: three digits are what it shows. */
function seriesOf(name: string, values: readonly (number | undefined)[], isLimitLine = false): Chart["series"][number] {
  return { name, values: values.map((value) => (value === undefined ? null : Number(value.toPrecision(3)))), isLimit: isLimitLine };
}

/** What a case is called below an axis: its model and its shape, in lines. */
function categoryOf({ name, what }: CaseResult): string {
  const model = /^[^:,]{1,12}(?=[:,]|$)/.exec(what)?.[0];
  return [...(model === undefined ? [] : [model]), ...name.split(/,? /)].join("\n");
}

const namesOf = (cases: readonly CaseResult[], wanted: (m: Measurement) => boolean): readonly string[] => [
  ...new Set(cases.flatMap(({ measurements }) => measurements.filter(wanted).map(labelOf))),
];

/** Suites whose picture is a file as well, for READMEs: the lead, other libraries, and the limit that the suite has. */
const PICTURED = ["softmax", "attention"];

function overview({ id, title, unit, peak, cases }: SuiteResult, machine: string): readonly Chart[] {
  if (!PICTURED.includes(id)) return [];
  const lead = cases.map(leadOf).find((m) => m !== undefined);
  const rates = (name: string, find: (result: CaseResult) => { readonly rate: number } | undefined, isLine = false) =>
    seriesOf(
      name,
      cases.map((result) => {
        const rate = find(result)?.rate;
        return rate && rate / 1e9;
      }),
      isLine,
    );
  const others = namesOf(cases, ({ group }) => group === "javascript" || group === "peer");
  const baseline = (result: CaseResult) => result.measurements.find(({ name, variant }) => name === lead?.name && variant !== lead.variant);
  return [
    {
      ...{ title: `${title}: ${unit}, higher is better`, about: `one thread, ${machine}`, unit, file: `${id}.svg` },
      categories: cases.map(categoryOf),
      series: [
        rates("onepass", leadOf),
        ...(peak === undefined ? [] : [rates("onepass, baseline SIMD", baseline)]),
        ...others.map((name) => rates(name, (result) => measurementNamed(result, name))),
        ...(peak === undefined ? [] : [rates(peak, (result) => limitNamed(result, peak), true)]),
      ],
    },
  ];
}

/** Every contender on every case, and the limit. Of the baseline binary only the lead's algorithm is drawn; the tables have all. */
function everything({ id, title, unit, compares, peak, cases }: SuiteResult): Chart {
  const leads = new Set(cases.map((result) => leadOf(result)?.name));
  const names = namesOf(cases, (m) => !isLimit(m) && (m.variant !== "baseline" || leads.has(m.name) || compares === "cost"));
  const values = (name: string): readonly (number | undefined)[] =>
    cases.map((result) => {
      const m = result.measurements.find((each) => labelOf(each) === name);
      return m && valueOf(compares, result, m);
    });
  const limits = cases.map((result) => {
    const limit = limitOf(result, peak);
    return limit && valueOf(compares, result, { rate: limit.rate, timing: { ms: NaN, p90Ms: NaN, roundsMs: [], samples: 0 } });
  });
  const [of, better] = { rate: [unit, "higher"], time: ["ms", "lower"], cost: ["%", "lower"], "speed-up": ["×", "higher"] }[compares] as [Unit, string];
  return {
    title: `${title}: ${of}, ${better} is better`,
    unit: of,
    isLogarithmic: id.startsWith("engine-"),
    categories: cases.map(categoryOf),
    series: [...names.map((name) => seriesOf(name, values(name))), ...(compares === "cost" ? [] : [seriesOf(peak ?? "lowest limit", limits, true)])],
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
  const columns: Table["columns"] = [
    { title: "", unit: "text" },
    { title: unit, unit },
    { title: `of ${peak ?? "limit"}`, unit: "%" },
    ...standings.map(({ rival }) => ({ title: `× ${rival}`, unit: "×" as const })),
  ];
  const same = seriesOf(
    "same speed",
    cases.map(() => 1),
    true,
  );
  const chart: Chart = {
    ...{ title: `${title}, higher is better`, unit: "×", isLogarithmic: true, categories: cases.map(categoryOf) },
    series: [...standings.map(({ rival, ratios }) => seriesOf(rival, ratios)), same],
  };
  return [{ title: "Against others", isSub: true, charts: [chart], tables: [{ title, columns, rows: [...rows, means] }] }];
}

/** What each case's call works in, where that was measured. */
function memory(cases: readonly CaseResult[]): readonly Section[] {
  const rows = cases.flatMap(({ name, memory: m }) => (m === undefined ? [] : [{ cells: [name, m.scratchBytes, m.plainBytes, m.matrixBytes] }]));
  if (rows.length === 0) return [];
  const titles = ["tensors in module memory", "plain arrays", "matrix of scores"];
  const table: Table = {
    title: "Working memory",
    about: "What a call takes beyond inputs and output, and what attention in three steps stores. Of plain arrays, one head at a time is copied in.",
    columns: [{ title: "", unit: "text" }, ...titles.map((title) => ({ title, unit: "bytes" as const }))],
    rows,
  };
  return [{ title: "Memory", isSub: true, tables: [table] }];
}
