import { writeReports } from "./report/write.ts";
import type { Arguments } from "./arguments.ts";
import { createInstances, type Context } from "./context.ts";
import { describeEnvironment, load } from "./environment.ts";
import { measureMachine } from "./machine/limits.ts";
import { setUpPeers } from "./peers/all.ts";
import { installPeers } from "./peers/install.ts";
import { printCase, printClosing, printMachine, printOpening, printStartUp, printSummary } from "./report/console.ts";
import { failuresOf } from "./report/derive.ts";
import type { BenchReport, SuiteResult } from "./report/results.ts";
import { runCase } from "./run.ts";
import { measureStartUp } from "./start-up/measure.ts";
import { allSuites } from "./suites.ts";
import { FULL, QUICK } from "./timing.ts";

/** Measures what the arguments select, prints it, writes the reports. Gives the process's exit code. */
export async function runBenchmark(args: Arguments, root: string): Promise<number> {
  const start = performance.now();
  const loadBefore = load();
  const plan = args.quick ? QUICK : FULL;
  if (args.peers) installPeers((line) => console.log(line));
  const { ready, statuses } = args.peers ? await setUpPeers() : { ready: [], statuses: [] };
  const instances = createInstances();
  const variants = instances.map(({ variant }) => variant);
  const environment = describeEnvironment(variants, args.quick);
  printOpening({ environment, peers: statuses });

  const machine = await measureMachine(variants, plan);
  printMachine({ machine: machine.figures });

  const context: Context = { instances, machine, peers: ready, quick: args.quick };
  const suites: SuiteResult[] = [];
  for (const suite of allSuites(context)) {
    const selected = suite.cases.filter(({ name, what }) => matches(args.filter, `${suite.id} ${suite.title} ${name} ${what}`));
    if (selected.length === 0) continue;
    console.log(`\n── ${suite.title} ──\n${suite.about}`);
    const { id, title, about, unit, compares, peak } = suite;
    const cases = [];
    for (const bench of selected) {
      const result = await runCase(bench, plan);
      printCase(suite, result);
      cases.push(result);
    }
    suites.push({ id, title, about, unit, compares, peak, cases });
  }
  const startUp = matches(args.filter, "start-up") ? await measureStartUp(["onepass", ...ready.map(({ name }) => name)], args.quick ? 3 : 9) : [];
  if (suites.length === 0 && startUp.length === 0) {
    console.error(`\nNo case matches "${args.filter}". Try a shape (1024x1024), a model (BERT) or an operation (logSumExp).`);
    return 2;
  }

  const report: BenchReport = {
    environment,
    machine: machine.figures,
    peers: statuses,
    suites,
    startUp,
    seconds: (performance.now() - start) / 1000,
    loadBefore,
  };
  printStartUp(report);
  suites.forEach(printSummary);
  printClosing(report, writeReports(report, args.out, root));
  return failuresOf(report).length === 0 ? 0 : 1;
}

/** Whether a filter's text is in `text`; upper case does not matter, and × may be typed as x. */
function matches(filter: string, text: string): boolean {
  const plain = (s: string): string => s.toLowerCase().replaceAll("×", "x");
  return plain(text).includes(plain(filter));
}
