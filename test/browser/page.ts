// Runs a test file in a page with vitest's own runner, so that the suites are the ones that run in Node. `?file=…` says which,
// `&subjects=…` on what; the outcome goes to the console as one line of JSON.
import type { RunnerTask } from "vitest";
import { startTests } from "vitest/internal/browser";
import type { SerializedConfig, VitestRunner } from "vitest/runtime";
import { MARK, type Outcome } from "./outcome.ts";

/** For a test; software GPUs are slow. */
const TIMEOUT_MS = 300_000;

// As much of a configuration as the runner and `expect` look at.
const config = {
  root: "/",
  setupFiles: [],
  passWithNoTests: false,
  allowOnly: false,
  sequence: { seed: 0, hooks: "stack", setupFiles: "list" },
  maxConcurrency: 1,
  testTimeout: TIMEOUT_MS,
  hookTimeout: TIMEOUT_MS,
  retry: 0,
  tags: [],
  taskTitleValueFormatTruncate: 40,
  snapshotOptions: { expand: false, updateSnapshot: "none", snapshotEnvironment: null },
  expect: {},
  experimental: {},
} as unknown as SerializedConfig;

function leaves(tasks: readonly RunnerTask[]): RunnerTask[] {
  return tasks.flatMap((task) => (task.type === "suite" ? leaves(task.tasks) : [task]));
}

function branches(tasks: readonly RunnerTask[]): RunnerTask[] {
  return tasks.flatMap((task) => (task.type === "suite" ? [task, ...branches(task.tasks)] : []));
}

function fullName(task: RunnerTask): string {
  return task.suite === undefined ? task.name : `${fullName(task.suite)} > ${task.name}`;
}

/** Why a test was skipped, which vitest's types do not tell. */
function reasonOf({ result }: RunnerTask): string {
  return (result as { readonly note?: string } | undefined)?.note ?? "";
}

async function run(file: string): Promise<Outcome> {
  const runner: VitestRunner = {
    config,
    importFile: () => import(new URL(file, location.href).href),
    // Signs of life, and if it is the last one: what hangs.
    onBeforeRunTask: (test) => console.log(fullName(test)),
  };
  const files = await startTests([file], runner);
  const tests = leaves(files);
  return {
    passed: tests.filter(({ result }) => result?.state === "pass").length,
    skipped: tests.filter(({ mode, result }) => mode === "skip" || result?.state === "skip").map((test) => `${fullName(test)}: ${reasonOf(test)}`),
    // A suite fails with its tests, and by itself when a hook does.
    failed: [...branches(files), ...tests]
      .filter(({ type, result }) => result?.state === "fail" && (type === "test" || (result.errors?.length ?? 0) > 0))
      .map((task) => ({ name: fullName(task), message: (task.result?.errors ?? []).map((error) => error.stack ?? error.message).join("\n") })),
  };
}

const parameters = new URL(location.href).searchParams;
Object.assign(globalThis, {
  // What `process.env` is in the bundle.
  environment: { CI: parameters.get("ci") ?? "", ONEPASS_SUBJECTS: parameters.get("subjects") ?? "", ONEPASS_CONFORMANCE: "/conformance" },
  __vitest_worker__: { config, ctx: { pool: "browser", concurrencyId: 1, workerId: 1 }, durations: { fetch: 0 }, providedContext: {} },
});
try {
  if (parameters.has("data")) {
    // Names with their contents in base64.
    const entries = Object.entries((await (await fetch(parameters.get("data") ?? "")).json()) as Record<string, string>);
    Object.assign(globalThis, { files: new Map(entries.map(([name, text]) => [name, Uint8Array.from(atob(text), (c) => c.charCodeAt(0))])) });
  }
  console.log(MARK + JSON.stringify(await run(parameters.get("file") ?? "")));
} catch (error) {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  console.log(MARK + JSON.stringify({ passed: 0, skipped: [], failed: [{ name: "the page", message }] } satisfies Outcome));
}
