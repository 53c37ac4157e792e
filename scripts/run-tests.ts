// Runs all tests, in lanes that each keep one core busy, and writes the combined results to build/test-results.json.
//
// GPU suites run one process at a time, and so do browser suites, so one of each uses two cores. Vitest would run them in turn.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BUILD = join(ROOT, "build");

/** Projects of vitest.config.ts. Each line is a process that runs its projects one after the other. */
const LANES = [
  ["cpu", "browsers-webgpu"],
  ["webgpu*", "browsers-cpu"],
] as const;

/** The fields of vitest's JSON report that are counted. */
interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly unknown[];
}

const NOTHING: Report = { success: false, numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] };

/** Runs projects. The first lane prints at once, the others at the end: otherwise their lines would mix. */
async function runLane(projects: readonly string[], index: number): Promise<{ readonly report: Report; readonly output: string }> {
  const file = join(BUILD, `test-results-${index}.json`);
  rmSync(file, { force: true });
  const args = ["run", ...projects.map((name) => `--project=${name}`), "--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const child = spawn(process.execPath, [join(ROOT, "node_modules/vitest/vitest.mjs"), ...args], {
    cwd: ROOT,
    stdio: ["ignore", index === 0 ? "inherit" : "pipe", "inherit"],
  });
  let output = "";
  child.stdout?.on("data", (part: Buffer) => (output += part.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  try {
    const report = JSON.parse(readFileSync(file, "utf8")) as Report;
    return { report: { ...report, success: report.success && code === 0 }, output };
  } catch {
    return { report: NOTHING, output };
  }
}

mkdirSync(BUILD, { recursive: true });
const lanes = await Promise.all(LANES.map(runLane));
for (const { output } of lanes) process.stdout.write(output);
const sum = (of: (report: Report) => number): number => lanes.reduce((total, { report }) => total + of(report), 0);
const all: Report = {
  success: lanes.every(({ report }) => report.success),
  numPassedTests: sum((report) => report.numPassedTests),
  numFailedTests: sum((report) => report.numFailedTests),
  numPendingTests: sum((report) => report.numPendingTests),
  numTodoTests: sum((report) => report.numTodoTests),
  testResults: lanes.flatMap(({ report }) => report.testResults),
};
writeFileSync(join(BUILD, "test-results.json"), JSON.stringify(all));
console.log(`${all.numPassedTests} passed, ${all.numFailedTests} failed, ${all.numPendingTests + all.numTodoTests} skipped`);
process.exitCode = all.success ? 0 : 1;
