import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Arguments } from "./arguments.ts";
import { createInstances, type Context, type EngineContext } from "./context.ts";
import type { Suite } from "./contender.ts";
import { reportDispatch } from "./engine/dispatch-report.ts";
import { openEngines, type Engines } from "./engine/engines.ts";
import { describeEnvironment, load } from "./environment.ts";
import { measureMachine, type Machine } from "./machine/limits.ts";
import { GPU_PEERS, PEERS, setUpPeers } from "./peers/all.ts";
import { installPeers } from "./peers/install.ts";
import { printCase, printClosing, printDispatch, printEngines, printMachine, printOpening, printStartUp, printSummary } from "./report/console.ts";
import { failuresOf } from "./report/derive.ts";
import { record, writeJson } from "./report/record.ts";
import type { BenchReport, EngineReport, SuiteResult } from "./report/results.ts";
import { runCase } from "./run.ts";
import { isInstalled } from "./sampling.ts";
import { measureStartUp } from "./start-up/measure.ts";
import { allSuites, engineSuites } from "./suites.ts";
import { FULL, QUICK, type TimingPlan } from "./timing.ts";

/** Measures what the arguments select, prints it, writes the reports. Gives the process's exit code. */
export async function runBenchmark(args: Arguments, root: string): Promise<number> {
  const start = performance.now();
  const loadBefore = load();
  const plan = args.quick ? QUICK : FULL;
  if (args.peers) installPeers((line) => console.log(line));
  const others = args.peers && !args.gpu ? await setUpPeers(PEERS) : NO_PEERS;
  const instances = createInstances();
  const variants = instances.map(({ variant }) => variant);
  const environment = describeEnvironment(variants, args.quick);

  const engines = await openEngines();
  try {
    const onGpu = "unavailable" in engines.gpu || !(args.peers || args.gpu) ? NO_PEERS : await setUpPeers(GPU_PEERS);
    const peers = [...others.statuses, ...onGpu.statuses];
    const engine = describeEngines(engines);
    printOpening({ environment, peers });
    printEngines({ engine });

    // The loops of the CPU are compiled by AssemblyScript, and limit nothing of the engine.
    const machine = args.gpu ? undefined : await measureMachine(variants, plan);
    const figures = [...(machine?.figures ?? []), ...("unavailable" in engines.gpu ? [] : engines.gpu.limits.figures)];
    printMachine({ machine: figures });

    const engineContext: EngineContext = { engines, peers: onGpu.ready, quick: args.quick };
    const chosen = machine === undefined ? engineSuites(engineContext) : allSuites(contextOf(instances, machine, others.ready, args.quick), engineContext);
    const suites = await runSuites(chosen, args.filter, plan);
    const { gpu } = engines;
    const wantsDispatch = matches(args.filter, "engine dispatch crossover");
    const dispatch =
      "unavailable" in gpu || gpu.calibration === undefined || !wantsDispatch ? undefined : await reportDispatch(engines, gpu, gpu.calibration, args.quick);
    if (dispatch !== undefined) printDispatch({ dispatch });
    const measuresStartUp = !args.gpu && matches(args.filter, "start-up");
    const startUp = measuresStartUp ? await measureStartUp(["onepass", ...others.ready.map(({ name }) => name)], args.quick ? 3 : 9) : [];
    if (suites.length === 0 && startUp.length === 0 && dispatch === undefined) {
      console.error(`\nNo case matches "${args.filter}". Try a shape (1024x1024), a model (BERT) or an operation (logSumExp).`);
      return 2;
    }

    const seconds = (performance.now() - start) / 1000;
    const report: BenchReport = { environment, machine: figures, peers, engine, suites, dispatch, startUp, seconds, loadBefore };
    printStartUp(report);
    suites.forEach(printSummary);
    const files = [...(await writeAll(report, args.out, root)), ...(args.gpu && args.filter === "" ? record(report, root) : [])];
    printClosing(report, files);
    return failuresOf(report).length === 0 ? 0 : 1;
  } finally {
    engines.dispose();
  }
}

/** Makes the reports of one that was measured before, perhaps elsewhere. */
export async function renderReport(args: Arguments, root: string): Promise<number> {
  const report = JSON.parse(readFileSync(resolve(root, args.from), "utf8")) as BenchReport;
  for (const suite of report.suites) {
    console.log(`\n── ${suite.title} ──`);
    for (const result of suite.cases) printCase(suite, result);
  }
  if (report.dispatch !== undefined) printDispatch({ dispatch: report.dispatch });
  printClosing(report, await writeAll(report, args.out, root));
  return failuresOf(report).length === 0 ? 0 : 1;
}

const NO_PEERS: Awaited<ReturnType<typeof setUpPeers>> = { ready: [], statuses: [] };

function contextOf(instances: Context["instances"], machine: Machine, peers: Context["peers"], quick: boolean): Context {
  return { instances, machine, peers, quick };
}

async function runSuites(suites: readonly Suite[], filter: string, plan: TimingPlan): Promise<readonly SuiteResult[]> {
  const results: SuiteResult[] = [];
  for (const suite of suites) {
    const selected = suite.cases.filter(({ name, what }) => matches(filter, `${suite.id} ${suite.title} ${name} ${what}`));
    if (selected.length === 0) continue;
    console.log(`\n── ${suite.title} ──\n${suite.about}`);
    const { id, title, about, unit, compares, peak } = suite;
    const cases = [];
    for (const bench of selected) {
      const result = await runCase(bench, suite.plan ?? plan);
      printCase(suite, result);
      cases.push(result);
    }
    results.push({ id, title, about, unit, compares, peak, cases });
  }
  return results;
}

function describeEngines({ threads, reasons, gpu }: Engines): EngineReport {
  if ("unavailable" in gpu) return { threads, reasons, gpu };
  const { name, driver, emulated, timer, engine } = gpu;
  return { threads, reasons, gpu: { name, driver, emulated, clock: timer.clock, off: engine.info().off } };
}

/** Every report that can be made here: charts need a package that a machine without a network may lack. */
async function writeAll(report: BenchReport, directory: string, root: string): Promise<readonly string[]> {
  if (!isInstalled("echarts")) {
    console.log("\nwithout report.html: echarts is not installed here; make it elsewhere of report.json, with --from");
    return writeJson(report, directory, root);
  }
  const { writeReports } = await import("./report/write.ts");
  return writeReports(report, directory, root);
}

/** Whether a filter's text is in `text`; upper case does not matter, and × may be typed as x. */
function matches(filter: string, text: string): boolean {
  const plain = (s: string): string => s.toLowerCase().replaceAll("×", "x");
  return plain(text).includes(plain(filter));
}
