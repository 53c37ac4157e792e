import { mkdirSync, writeFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import { standalone } from "./charts.ts";
import { overview, placesOverview } from "./figures.ts";
import { htmlReport } from "./html.ts";
import type { BenchReport } from "./results.ts";

/** Suites with a picture for the README. */
const PICTURED = ["softmax", "attention"];
/** The same of the engine, on a GPU. */
const PICTURED_PLACES = ["engine-softmax", "engine-attention"];

/** Writes every report into a directory; gives their paths, relative to where one stands. */
export function writeReports(report: BenchReport, directory: string, root: string): readonly string[] {
  const folder = resolve(root, directory);
  mkdirSync(folder, { recursive: true });
  const files = [
    { name: "report.html", content: htmlReport(report) },
    { name: "report.json", content: `${JSON.stringify(report, null, 1)}\n` },
  ];
  for (const suite of report.suites) {
    const svg = PICTURED.includes(suite.id) ? overview(suite, report) : PICTURED_PLACES.includes(suite.id) ? placesOverview(suite, report) : undefined;
    if (svg !== undefined) files.push({ name: `${suite.id}.svg`, content: standalone(svg) });
  }
  return files.map(({ name, content }) => {
    const path = resolve(folder, name);
    writeFileSync(path, content);
    return relative(process.cwd(), path);
  });
}
