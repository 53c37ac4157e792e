// Runs all tests, what keeps one core busy beside what keeps another one busy, and puts what came of them into build/test-results.json.
//
// Suites on a GPU are one process at a time, and so are those in browsers: two cores are used by one of each. Vitest would run them in turn.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BUILD = join(ROOT, "build");

/** Projects of vitest.config.ts; each line of them is a process, which runs them one after the other. */
const LANES = [
  ["cpu", "browsers-webgpu"],
  ["webgpu*", "browsers-cpu"],
] as const;

/** What is counted of vitest's JSON report. */
interface Report {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly unknown[];
}

const NOTHING: Report = { success: false, numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, testResults: [] };

/** Runs projects. What the first lane prints is seen at once, the others' in the end: lines of both would mix. */
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
