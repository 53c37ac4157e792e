import { mkdirSync, writeFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import type { Results } from "./build.ts";
import type { Report } from "./report.ts";

/** Writes every report that can be made here, and says where: charts need a package that a machine without a network may lack. */
export async function writeReports(report: Report, folder: string): Promise<void> {
  write(folder, "report.json", toJson(report));
  try {
    const { htmlReport } = await import("./html.ts");
    const { drawChart, standalone } = await import("./charts.ts");
    write(folder, "report.html", htmlReport(report));
    for (const chart of report.sections.flatMap(({ charts = [] }) => charts)) {
      if (chart.file !== undefined) write(folder, chart.file, standalone(drawChart(chart)));
    }
  } catch (error) {
    if ((error as { code?: string }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    console.log("without report.html: echarts is not installed here; make it elsewhere of report.json, with --from");
  }
}

/**
 * Records what a real GPU did, for the repository: the report, and what test/dispatch replays (`DispatchTable`). Nothing of software,
 * nothing of a quick run: neither says anything about a GPU.
 */
export function record({ engines: { gpu, threads }, dispatch, environment: { cpu, node, date, quick } }: Results, report: Report, folder: string): void {
  if ("unavailable" in gpu || gpu.emulated || quick) return;
  const { name: device, driver } = gpu;
  const slug = device
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  write(folder, `${slug}.json`, toJson(report));
  if (dispatch === undefined) return;
  const { calibration, calls } = dispatch;
  const machine = `${device}, ${driver}; ${cpu}, ${threads} threads; Node ${node}`;
  write(folder, `dispatch-${slug}.json`, toJson({ machine, device, driver, date, calibration, calls }));
}

const toJson = (content: unknown): string => `${JSON.stringify(content, null, 1)}\n`;

function write(folder: string, name: string, content: string): void {
  mkdirSync(folder, { recursive: true });
  const path = resolve(folder, name);
  writeFileSync(path, content);
  console.log(`  ${relative(process.cwd(), path)}`);
}
