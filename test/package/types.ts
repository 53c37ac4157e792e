// The declarations, as tools judge them and as projects read them.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { ROOT, runScript } from "./program.ts";
import { VARIANTS } from "./report.ts";

export async function checkPublint(tarball: string): Promise<void> {
  const bytes = readFileSync(tarball);
  const { messages, pkg } = await publint({ strict: true, pack: { tarball: new Uint8Array(bytes).buffer } });
  assert.deepEqual(
    messages.map((message) => formatMessage(message, pkg)),
    [],
  );
}

export async function checkAttw(tarball: string): Promise<void> {
  // No types describe a .wasm file or a worker's script; every other entry counts.
  const untyped = ["./worker", ...VARIANTS.flatMap((variant) => [`./wasm/${variant}.wasm`, `./wasm/${variant}-shared.wasm`])];
  const options = ["--profile", "esm-only", "--no-definitely-typed", "--no-emoji", "--no-color", "--format", "table-flipped"];
  await runScript(join(ROOT, "node_modules/@arethetypeswrong/cli/dist/index.js"), [tarball, ...options, "--exclude-entrypoints", ...untyped]);
}

/** How a project reads the declarations. */
export interface Reading {
  readonly module: "NodeNext" | "ESNext";
  readonly moduleResolution: "nodenext" | "bundler";
  /** The language's own library, and no other. */
  readonly lib: "ES2022" | "ESNext";
}

/** A strict project, with the declarations checked as well; `programs` are those of apps/ that it compiles. */
export async function checkTypes(project: string, { lib, ...reading }: Reading, programs: readonly string[]): Promise<void> {
  const directory = join(project, `types-${reading.moduleResolution}-${lib}`);
  mkdirSync(directory);
  for (const program of programs) cpSync(join(project, `apps/${program}.txt`), join(directory, `${program}.ts`));
  const compilerOptions = { strict: true, noEmit: true, target: "ES2022", lib: [lib], types: [], skipLibCheck: false, ...reading };
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions, files: programs.map((program) => `${program}.ts`) }));
  await runScript(join(ROOT, "node_modules/typescript/bin/tsc"), ["-p", directory]);
}
