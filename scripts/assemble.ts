// Runs the compiler on assembly/.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { VARIANT_SECTION, type Variant } from "../src/backend/wasm/module/features.ts";
import { FAMILIES, type FamilyEntry } from "./families.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** A binary to build. */
export interface Target {
  /** The file is build/<name>.wasm. */
  readonly name: string;
  readonly variant: Variant;
  /** The family it holds; `undefined` for all shipped families in one. */
  readonly family: FamilyEntry | undefined;
}

/** Everything to compile: each family, and all of them in one, in both variants. */
export const TARGETS: readonly Target[] = [...FAMILIES, undefined].flatMap((family) =>
  (["baseline", "relaxed"] as const).map((variant) => ({ name: `${family?.name ?? "whole"}-${variant}`, variant, family })),
);

/** Compiles one binary. Runs the compiler as a program because the types of its module form redeclare globals for the whole project. */
export async function assemble({ variant, family }: Target, outFile: string, options: readonly string[] = []): Promise<Buffer> {
  const source = family === undefined ? ["assembly/index.ts"] : [`assembly/families/${family.name}.ts`, "--memoryBase", String(family.memoryBase)];
  const args = [`${root}node_modules/assemblyscript/bin/asc.js`, ...source, "--target", variant, "--outFile", outFile, ...options];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root });
  process.stderr.write(stdout + stderr);
  return markVariant(readFileSync(outFile), variant);
}

/** Appends a custom section with the variant, so that a compiled binary can tell which one it is. */
function markVariant(binary: Uint8Array, variant: Variant): Buffer {
  const name = Buffer.from(VARIANT_SECTION);
  const content = Buffer.concat([Buffer.of(name.length), name, Buffer.from(variant)]);
  // 0 is the kind of custom sections; both lengths fit in one byte.
  return Buffer.concat([binary, Buffer.of(0, content.length), content]);
}

/** Runs a task for each item, as many at once as there are processors. */
export async function forEachAtOnce<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}
