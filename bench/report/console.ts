import { styleText } from "node:util";
import { columns } from "./columns.ts";
import type { DispatchReport } from "../engine/dispatch-report.ts";
import type { CaseResult, Measurement, SuiteResult, BenchReport } from "./results.ts";
import {
  costOf,
  failuresOf,
  gpuText,
  isRegisterLimit,
  labelOf,
  leadOf,
  limitShown,
  memoryText,
  noiseOf,
  ratioTo,
  rightText,
  rivalsOf,
  skippedTexts,
  speedUpOf,
  wasBusy,
} from "./derive.ts";
import { digits, duration, percent, share, times } from "./format.ts";
import { geometricMean } from "../statistics.ts";

type Style = Parameters<typeof styleText>[0];

/** Colour on a terminal that wants it, plain text everywhere else. */
function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** Prints a table; titles are bold. */
function printTable(head: readonly string[], rows: readonly (readonly string[])[], leftColumns = 1): void {
  console.log(
    columns(
      head.map((title) => (title === "" ? "" : paint("bold", title))),
      rows,
      leftColumns,
    ),
  );
}

/** What is about to happen, and on what. */
export function printOpening({ environment: e, peers }: Pick<BenchReport, "environment" | "peers">): void {
  console.log(`\n${paint("bold", "onepass benchmark")}` + (e.quick ? ": quick mode, figures are rough" : ""));
  console.log(`${e.cpu}, ${e.cores} cores; Node ${e.node} (V8 ${e.v8}), ${e.platform}; ${e.date.slice(0, 10)}`);
  console.log("Every row was first compared with a float64 reference. Rates are medians; higher is better.");
  for (const { name, version, unavailable } of peers)
    console.log(unavailable === undefined ? `  with ${name} ${version}` : paint("yellow", `  without ${name}: ${unavailable}`));
}

/** What the engines run on. */
export function printEngines({ engine: { threads, reasons, gpu } }: Pick<BenchReport, "engine">): void {
  console.log(
    `Engines: ${threads} ${threads === 1 ? "thread" : "threads"} on the CPU${reasons.length === 0 ? "" : paint("yellow", ` (${reasons.join("; ")})`)}`,
  );
  if ("unavailable" in gpu) console.log(paint("yellow", `  without a GPU: ${gpu.unavailable}`));
  else {
    console.log(`  GPU: ${gpuText(gpu)}; timed by ${gpu.clock}`);
    if (gpu.emulated) console.log(paint("yellow", "  It is software, which dispatch never chooses: its figures say that all works, and no more."));
  }
}

/** Where dispatch moves calls to the GPU, and whether it was right. */
export function printDispatch({ dispatch }: { readonly dispatch: DispatchReport }): void {
  console.log(`\n${paint("bold", "Where dispatch moves calls to the GPU, from arrays to arrays")}`);
  const size = (n: number | undefined): string => (n === undefined ? "never" : String(n));
  const rows = dispatch.families.map(({ family, predicted, measured, points }) => [
    family,
    `n ≥ ${size(predicted)}`.replace("n ≥ never", "never"),
    `n ≥ ${size(measured)}`.replace("n ≥ never", `never up to ${points.at(-1)?.n ?? 0}`),
  ]);
  printTable(["", "dispatch", "measured"], rows);
  console.log(rightText(dispatch));
  for (const mistake of dispatch.mistakes) console.log(paint("yellow", `  ${mistake}`));
  console.log(paint("dim", `calibration ${JSON.stringify(dispatch.calibration)}`));
}

/** The machine's own limits. */
export function printMachine({ machine }: Pick<BenchReport, "machine">): void {
  if (machine.length === 0) return;
  console.log(`\n${paint("bold", "What this machine can do: one thread in WebAssembly, the GPU in WGSL")}`);
  const rows = machine.map(({ name, value, unit, about }) => [name, `${digits(value)} ${unit}`, about]);
  printTable(["", "", ""], rows, 3);
}

/** Everything about one case. */
export function printCase(suite: Pick<SuiteResult, "unit" | "compares" | "peak">, result: CaseResult): void {
  const lead = leadOf(result);
  console.log(`\n${paint("bold", result.name)}  ${paint("dim", result.what)}`);
  const shown = columnsOf(suite, result);
  const hasRatio = lead !== undefined && suite.compares !== "cost" && suite.compares !== "speed-up";
  const head = ["", ...shown.map(({ title }) => title), "per call", "±", ...(hasRatio ? [`${lead.name} is`] : [])];
  const rows = result.measurements.map((m) => {
    const name = m.lead ? paint("bold", labelOf(m)) : m.group === "onepass" ? labelOf(m) : paint("dim", labelOf(m));
    return [name, ...shown.map(({ cell }) => cell(m)), duration(m.timing.ms), percent(noiseOf(m)), ...(hasRatio ? [comparison(result, m)] : [])];
  });
  if (rows.length > 0) printTable(head, rows);
  if (result.memory !== undefined) console.log(paint("dim", `  ${memoryText(result.memory)}`));
  for (const text of skippedTexts(result)) console.log(paint("dim", `  ${text}`));
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
  const limit: Column = {
    title: `of ${peak ?? "limit"}`,
    cell: (m) => (m.group === "limit" ? "" : percent(m.rate / (limitShown({ peak }, result, m)?.rate ?? NaN))),
  };
  if (compares === "speed-up") return [{ title: `× ${leadOf(result)?.name ?? "lead"}`, cell: (m) => digits(speedUpOf(result, m)) }, limit];
  const bytes: Column = { title: "GB/s", cell: (m) => (isRegisterLimit(m) ? "" : digits(m.bytesPerSecond / 1e9)) };
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
  if (lead === undefined || suite.cases.length < 2 || suite.compares === "cost" || suite.compares === "speed-up") return;
  const title = `${suite.title}: onepass ${labelOf(lead)} in ${suite.unit}, and how many times as fast as others it is`;
  console.log(`\n${paint("bold", title)}`);
  const head = ["", suite.unit, `of ${suite.peak ?? "limit"}`, ...rivals.map((name) => `× ${name}`)];
  const rows: string[][] = [];
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
  printTable(head, rows);
}

/** Import and first result. */
export function printStartUp({ startUp }: Pick<BenchReport, "startUp">): void {
  if (startUp.length === 0) return;
  console.log(`\n${paint("bold", "From import to the first result, in a fresh process")}`);
  printTable(
    ["", ""],
    startUp.map(({ name, ms, failure }) => [name, failure === "" ? duration(ms) : paint("red", "failed")]),
  );
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
