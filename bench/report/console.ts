import { styleText } from "node:util";
import Table from "cli-table3";
import type { CaseResult, Measurement, SuiteResult, BenchReport } from "./results.ts";
import { costOf, failuresOf, isRegisterLimit, labelOf, leadOf, limitShown, memoryText, noiseOf, ratioTo, rivalsOf, wasBusy } from "./derive.ts";
import { digits, duration, percent, share, times } from "./format.ts";
import { geometricMean } from "../statistics.ts";

type Style = Parameters<typeof styleText>[0];

/** Colour on a terminal that wants it, plain text everywhere else. */
function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

function table(head: readonly string[], leftColumns = 1): Table.Table {
  return new Table({
    head: head.some((title) => title !== "") ? head.map((title) => paint("bold", title)) : [],
    colAligns: head.map((_, i) => (i < leftColumns ? "left" : "right")),
    style: { head: [], border: [], compact: true },
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
}

/** What is about to happen, and on what. */
export function printOpening({ environment: e, peers }: Pick<BenchReport, "environment" | "peers">): void {
  console.log(`\n${paint("bold", "onepass benchmark")}` + (e.quick ? ": quick mode, figures are rough" : ""));
  console.log(`${e.cpu}, ${e.cores} cores; Node ${e.node} (V8 ${e.v8}), ${e.platform}; one thread; ${e.date.slice(0, 10)}`);
  console.log("Every row was first compared with a float64 reference. Rates are medians; higher is better.");
  for (const { name, version, unavailable } of peers)
    console.log(unavailable === undefined ? `  with ${name} ${version}` : paint("yellow", `  without ${name}: ${unavailable}`));
}

/** The machine's own limits. */
export function printMachine({ machine }: Pick<BenchReport, "machine">): void {
  console.log(`\n${paint("bold", "What this machine can do, one thread, in WebAssembly")}`);
  const rows = table(["", "", ""], 1);
  for (const { name, value, unit, about } of machine) rows.push([name, `${digits(value)} ${unit}`, { content: about, hAlign: "left" }]);
  console.log(rows.toString());
}

/** Everything about one case. */
export function printCase(suite: Pick<SuiteResult, "unit" | "compares" | "peak">, result: CaseResult): void {
  const lead = leadOf(result);
  console.log(`\n${paint("bold", result.name)}  ${paint("dim", result.what)}`);
  const columns = columnsOf(suite, result);
  const hasRatio = lead !== undefined && suite.compares !== "cost";
  const rows = table(["", ...columns.map(({ title }) => title), "per call", "±", ...(hasRatio ? [`${lead.name} is`] : [])]);
  for (const m of result.measurements) {
    const name = m.lead ? paint("bold", labelOf(m)) : m.group === "onepass" ? labelOf(m) : paint("dim", labelOf(m));
    rows.push([name, ...columns.map(({ cell }) => cell(m)), duration(m.timing.ms), percent(noiseOf(m)), ...(hasRatio ? [comparison(result, m)] : [])]);
  }
  if (result.measurements.length > 0) console.log(rows.toString());
  if (result.memory !== undefined) console.log(paint("dim", `  ${memoryText(result.memory)}`));
  for (const { contender, reason } of result.skipped) console.log(paint("dim", `  without ${contender}: ${reason}`));
  for (const { contender, variant, message } of result.failures) console.log(paint("red", `  WRONG  ${labelOf({ name: contender, variant })}: ${message}`));
}

interface Column {
  readonly title: string;
  readonly cell: (m: Measurement) => string;
}

/** What a suite's table says apart from times. */
function columnsOf({ unit, compares, peak }: Pick<SuiteResult, "unit" | "compares" | "peak">, result: CaseResult): readonly Column[] {
  const rate: Column = { title: unit, cell: (m) => digits(m.rate / 1e9) };
  if (compares === "time") return [];
  if (compares === "cost") return [{ title: `of ${leadOf(result)?.name ?? "lead"}`, cell: (m) => share(costOf(result, m)) }, rate];
  const bytes: Column = { title: "GB/s", cell: (m) => (isRegisterLimit(m) ? "" : digits(m.bytesPerSecond / 1e9)) };
  const limit: Column = {
    title: `of ${peak ?? "limit"}`,
    cell: (m) => (m.group === "limit" ? "" : percent(m.rate / (limitShown({ peak }, result, m)?.rate ?? NaN))),
  };
  return [rate, ...(unit === "GB/s" ? [] : [bytes]), limit];
}

function comparison(result: CaseResult, m: Measurement): string {
  const ratio = ratioTo(result, m);
  if (m.lead || m.group === "limit" || ratio === undefined) return "";
  const text = ratio >= 1 ? `${times(ratio)} as fast` : `${times(1 / ratio)} slower`;
  return m.group === "onepass" ? text : paint(ratio >= 1 ? "green" : "yellow", text);
}

/** A suite on one screen: a line per case. */
export function printSummary(suite: SuiteResult): void {
  const rivals = rivalsOf(suite);
  const lead = suite.cases.map(leadOf).find((m) => m !== undefined);
  if (lead === undefined || suite.cases.length < 2 || suite.compares === "cost") return;
  const title = `${suite.title}: onepass ${labelOf(lead)} in ${suite.unit}, and how many times as fast as others it is`;
  console.log(`\n${paint("bold", title)}`);
  const rows = table(["", suite.unit, `of ${suite.peak ?? "limit"}`, ...rivals.map((name) => `× ${name}`)]);
  const ratios = rivals.map((): number[] => []);
  for (const result of suite.cases) {
    const own = leadOf(result);
    const limit = limitShown(suite, result);
    const cells = rivals.map((rival, i) => {
      const ratio = ratioTo(
        result,
        result.measurements.find(({ name }) => name === rival),
      );
      if (ratio !== undefined) ratios[i]?.push(ratio);
      return ratio === undefined ? "" : paint(ratio >= 1 ? "green" : "yellow", digits(ratio));
    });
    rows.push([
      result.name,
      own === undefined ? "" : digits(own.rate / 1e9),
      own === undefined || limit === undefined ? "" : percent(own.rate / limit.rate),
      ...cells,
    ]);
  }
  if (rivals.length > 0) rows.push([paint("dim", "geometric mean"), "", "", ...ratios.map((values) => paint("dim", digits(geometricMean(values))))]);
  console.log(rows.toString());
}

/** Import and first result. */
export function printStartUp({ startUp }: Pick<BenchReport, "startUp">): void {
  if (startUp.length === 0) return;
  console.log(`\n${paint("bold", "From import to the first result, in a fresh process")}`);
  const rows = table(["", ""]);
  for (const { name, ms, failure } of startUp) rows.push([name, failure === "" ? duration(ms) : paint("red", "failed")]);
  console.log(rows.toString());
}

/** What went wrong, and where the reports are. */
export function printClosing(report: BenchReport, files: readonly string[]): void {
  const failures = failuresOf(report);
  const { loadBefore, environment, seconds } = report;
  console.log("\n“of limit”: of the machine's lowest limit for that shape, a copy of the same bytes or the exponential alone. “±”: spread between rounds.");
  if (wasBusy(report)) console.log(paint("yellow", `The machine was busy (load ${digits(loadBefore)} on ${environment.cores} cores): figures are rough.`));
  for (const failure of failures) console.log(paint("red", `WRONG  ${failure}`));
  console.log(`${failures.length === 0 ? "All results were right." : paint("red", `${failures.length} wrong results.`)} ${Math.round(seconds)} seconds.`);
  for (const file of files) console.log(`  ${file}`);
}
