import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { createInstances } from "./contenders/context.ts";
import { measureDispatch } from "./engine/dispatch.ts";
import { openEngines } from "./engine/engines.ts";
import type { Arguments } from "./index.ts";
import { describeEnvironment } from "./machine/environment.ts";
import { measureMachine } from "./machine/limits.ts";
import type { Suite } from "./measure/contender.ts";
import { runCase, type CaseResult } from "./measure/run.ts";
import { FULL, QUICK } from "./measure/timing.ts";
import { GPU_PEERS, installPeers, PEERS } from "./peers/all.ts";
import { setUpPeers } from "./peers/peer.ts";
import { buildReport, machineTable } from "./report/build.ts";
import type { SuiteResult } from "./report/comparison.ts";
import { print, printReport, printTable } from "./report/console.ts";
import type { Report } from "./report/report.ts";
import { caseTable } from "./report/suite-sections.ts";
import { record, writeReports } from "./report/write.ts";
import { measureStartUp } from "./start-up/measure.ts";
import { allSuites } from "./suites/all.ts";

/** Measures what the arguments select, prints it, writes the reports. Gives the process's exit code. */
export async function runBenchmark({ peers: wantsPeers, gpu: engineOnly, quick, filter, out }: Arguments, root: string): Promise<number> {
  const start = performance.now();
  const plan = quick ? QUICK : FULL;
  const instances = createInstances();
  const variants = instances.map(({ variant }) => variant);
  const environment = describeEnvironment(variants, quick);
  if (wantsPeers) installPeers();
  const { ready: peers, statuses } = await setUpPeers(wantsPeers && !engineOnly ? PEERS : []);
  const engines = await openEngines();
  try {
    const { gpu } = engines;
    const onGpu = await setUpPeers((wantsPeers || engineOnly) && !("unavailable" in gpu) ? GPU_PEERS : []);
    print("bold", `\nonepass benchmark${quick ? ": quick mode, figures are rough" : ""}`);

    // The loops of the CPU are compiled by AssemblyScript, and limit nothing of the engine.
    const machine = engineOnly ? undefined : await measureMachine(variants, plan);
    const figures = [...(machine?.figures ?? []), ...("unavailable" in gpu ? [] : Object.values(gpu.limits))];
    if (figures.length > 0) printTable(machineTable(figures));

    const context = { engines, gpuPeers: onGpu.ready, quick };
    const suites: SuiteResult[] = [];
    for (const suite of allSuites(machine === undefined ? context : { ...context, instances, machine, peers })) {
      const selected = suite.cases.filter(({ name, what }) => matches(filter, `${suite.id} ${suite.title} ${name} ${what}`));
      if (selected.length === 0) continue;
      print("bold", `\n── ${suite.title} ──`);
      suites.push(await runSuite({ ...suite, plan: suite.plan ?? plan, cases: selected }));
    }
    const wantsDispatch = !("unavailable" in gpu) && matches(filter, "engine dispatch crossover");
    const dispatch = wantsDispatch ? await measureDispatch(engines, gpu, quick) : undefined;
    const wantsStartUp = !engineOnly && matches(filter, "start-up");
    const startUp = wantsStartUp ? await measureStartUp(["onepass", ...peers.map(({ name }) => name)], quick ? 3 : 9) : [];
    if (suites.length === 0 && startUp.length === 0 && dispatch === undefined) {
      console.error(`\nNo case matches "${filter}". Try a shape (1024x1024), a model (BERT) or an operation (logSumExp).`);
      return 2;
    }

    const seconds = (performance.now() - start) / 1000;
    const results = { environment, figures, peers: [...statuses, ...onGpu.statuses], engines, suites, dispatch, startUp, seconds };
    const report = buildReport(results);
    const code = await publish(report, false, resolve(root, out));
    if (engineOnly && filter === "") record(results, report, resolve(root, "bench/results"));
    return code;
  } finally {
    engines.dispose();
  }
}

/** Makes the reports of one that was measured before, perhaps elsewhere. */
export function renderReport({ from, out }: Arguments, root: string): Promise<number> {
  return publish(JSON.parse(readFileSync(resolve(root, from), "utf8")) as Report, true, resolve(root, out));
}

/** Prints a report and writes it into a folder. */
async function publish(report: Report, withDetails: boolean, folder: string): Promise<number> {
  printReport(report, withDetails);
  await writeReports(report, folder);
  return report.errors.length === 0 ? 0 : 1;
}

async function runSuite({ plan = FULL, ...suite }: Suite): Promise<SuiteResult> {
  print("reset", suite.about);
  const cases: CaseResult[] = [];
  for (const each of suite.cases) {
    const result = await runCase(each, plan);
    printTable(caseTable(suite, result));
    cases.push(result);
  }
  return { ...suite, cases };
}

/** Whether a filter's text is in `text`; upper case does not matter, and × may be typed as x. */
function matches(filter: string, text: string): boolean {
  const plain = (s: string): string => s.toLowerCase().replaceAll("×", "x");
  return plain(text).includes(plain(filter));
}
