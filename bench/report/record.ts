import { mkdirSync, writeFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import type { BenchReport } from "./results.ts";

/** Writes the raw figures alone; gives the path, relative to where one stands. */
export function writeJson(report: BenchReport, directory: string, root: string): readonly string[] {
  return [write(resolve(root, directory), "report.json", report)];
}

/**
 * Records what a real GPU did, for the repository: the report, and what test/dispatch replays (`DispatchTable`). Nothing of software,
 * nothing of a quick run: neither says anything about a GPU.
 */
export function record(report: BenchReport, root: string): readonly string[] {
  const { engine, dispatch, environment } = report;
  if ("unavailable" in engine.gpu || engine.gpu.emulated || environment.quick) return [];
  const { name: device, driver } = engine.gpu;
  const folder = resolve(root, "bench/results");
  const slug = device
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  const files = [write(folder, `${slug}.json`, { ...report, dispatch: dispatch && { ...dispatch, calls: [] } })];
  if (dispatch === undefined) return files;
  const { calibration, calls } = dispatch;
  const machine = `${device}, ${driver}; ${environment.cpu}, ${engine.threads} threads; Node ${environment.node}`;
  const table = { machine, device, driver, date: environment.date, calibration, calls };
  return [...files, write(folder, `dispatch-${slug}.json`, table)];
}

function write(folder: string, name: string, content: unknown): string {
  mkdirSync(folder, { recursive: true });
  const path = resolve(folder, name);
  writeFileSync(path, `${JSON.stringify(content, null, 1)}\n`);
  return relative(process.cwd(), path);
}
