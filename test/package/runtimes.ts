// Node, Bun and Deno, each by `import` and by `require`, with each binary that the engine can run.
import assert from "node:assert/strict";
import { run } from "./program.ts";
import { type Everything, type Outcome, type Sample, VARIANTS, type Variant, assertError, assertEverything, assertRight, assertSame } from "./report.ts";

interface RuntimeReport extends Everything {
  readonly sameModule: boolean;
  readonly standardOverflows: boolean;
  readonly accepted: Readonly<Record<Variant, boolean>>;
}

interface PlainReport {
  readonly sample: Sample;
  readonly plain: Outcome;
}

export interface Runtime {
  readonly path: string;
  /** Arguments before the script, by whether the script may read files and the environment. */
  readonly args: (allowed: boolean) => readonly string[];
  readonly relaxed: boolean;
}

/** Runs the programs of apps/ in one engine. */
export async function checkRuntime(runtime: Runtime, apps: string): Promise<string> {
  const programOf = async (file: string, variant: string, allowed: boolean): Promise<unknown> => {
    const env = { ...process.env, ONEPASS_WASM: variant, NODE_OPTIONS: "" };
    return JSON.parse(await run(runtime.path, [...runtime.args(allowed), file], { cwd: apps, env }));
  };
  for (const variant of ["", ...VARIANTS]) {
    const name = `ONEPASS_WASM="${variant}"`;
    if (variant === "relaxed" && !runtime.relaxed) {
      const refused = (await programOf("imported.mjs", variant, true)) as PlainReport;
      assertError(name, refused.plain, /^UnsupportedError: "ONEPASS_WASM"/);
      continue;
    }
    const found = (await programOf("runtime.mjs", variant, true)) as RuntimeReport;
    assertEverything(name, found, { relaxed: runtime.relaxed, threads: 2, threadsByUrl: 2, gpu: "none" });
    assert.deepEqual(found.accepted, { baseline: true, relaxed: runtime.relaxed }, "which raw .wasm files the engine accepts");
    assert.ok(found.sameModule, "import and require give different modules");
    assert.equal(found.standardOverflows, true, "standard softmax did not overflow");
    const binary = variant === "" ? (runtime.relaxed ? "relaxed" : "baseline") : (variant as Variant);
    assertSame(`${name}: other numbers than the ${binary} binary's`, found.runs.plain, found.runs[binary]);
  }
  const imported = (await programOf("imported.mjs", "", false)) as PlainReport;
  assertRight("import", imported.plain, imported.sample);
  const required = (await programOf("required.cjs", "", true)) as PlainReport;
  assert.deepEqual(required.plain, imported.plain, "require gives other numbers than import");
  return runtime.relaxed ? "both binaries, import and require" : "baseline only (no relaxed SIMD), import and require";
}

export async function versionOf(path: string): Promise<string> {
  return (await run(path, ["--version"])).trim().split("\n")[0] ?? "";
}
