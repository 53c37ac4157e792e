// What is in the package, and what a bundler leaves out of it.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join, sep } from "node:path";
import { type BuildOptions, build } from "esbuild";
import { decode } from "../../src/backend/wasm/module/inlined.ts";
import { VARIANTS, type Variant } from "./report.ts";

/** What a package holds besides dist/. */
const TOP_FILES = ["CHANGELOG.md", "LICENSE", "README.md", "package.json"];
/** Links and pictures of a Markdown file that are no addresses. */
const RELATIVE_LINK = /\]\((?!https?:|#)([^)]+)\)/g;
/** What only the TypeScript of attention says; a program without attention has no use for it. */
const ATTENTION_MARKER = "windowSize";

function filesUnder(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => statSync(join(directory, file)).isFile())
    .map((file) => file.split(sep).join("/"))
    .sort();
}

/** Everything that package.json names is there, and nothing that does not belong. */
export function checkContents(installed: string): string {
  const files = filesUnder(installed);
  const { exports } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as { exports: Record<string, string | Record<string, string>> };
  const named = Object.values(exports).flatMap((target) => (typeof target === "string" ? [target] : Object.values(target)));
  const linked = [...readFileSync(join(installed, "README.md"), "utf8").matchAll(RELATIVE_LINK)].map(([, path = ""]) => path);
  const wanted = [...TOP_FILES, ...linked, ...named.map((path) => path.replace("./", ""))];
  for (const file of wanted) assert.ok(files.includes(file), `${file} is missing`);
  const odd = files.filter((file) => !wanted.includes(file) && !/^dist\/[\w./-]+\.(js|js\.map|d\.ts|wasm)$/.test(file));
  assert.deepEqual(odd, [], "files that do not belong into the package");
  const tests = files.filter((file) => !linked.includes(file) && /(^|\/)(test|tests|bench|reference)\/|\.(test|bench)\./.test(file));
  assert.deepEqual(tests, [], "tests in the package");
  const bytes = files.reduce((sum, file) => sum + statSync(join(installed, file)).size, 0);
  return `${files.length} files, ${(bytes / 1024).toFixed(0)} KB unpacked`;
}

/** The table of byte values that comes with inlined binaries, in hexadecimal. */
const TABLE = /["'`]([0-9a-f]{512})["'`]/;
/** A piece of an inlined binary. */
const PIECE = /["'`]([#-[\]-~]{600,})["'`]/g;

/** The two binaries that a script has inlined (scripts/build.ts): a table of byte values, and pieces of the two in turn. */
function inlinedBinaries(script: string): Buffer[] {
  const table = TABLE.exec(script)?.[1];
  if (table === undefined) return [];
  const pieces = [...script.matchAll(PIECE)].map(([, text = ""]) => text).filter((text) => text !== table);
  return VARIANTS.map((_, mine) => Buffer.from(decode(pieces.filter((_, i) => i % VARIANTS.length === mine).join(""), table)));
}

/** Whether a script has all of a binary inlined. */
function inlines(script: string, installed: string, variant: Variant): boolean {
  return inlinedBinaries(script)[VARIANTS.indexOf(variant)]?.equals(readFileSync(join(installed, `dist/wasm/${variant}.wasm`))) ?? false;
}

/** The raw files are the inlined binaries. */
export function checkInlined(installed: string): void {
  const scripts = filesUnder(join(installed, "dist")).filter((file) => file.endsWith(".js"));
  const text = scripts.map((file) => readFileSync(join(installed, "dist", file), "utf8")).join("\n");
  for (const variant of VARIANTS) assert.ok(inlines(text, installed, variant), `wasm/${variant}.wasm is not inlined`);
}

/** What a bundle of apps/softmax-only.js holds, and what it leaves out; `whole` is a bundle of everything. */
export function checkShaken(installed: string, softmaxOnly: string, whole: string): string {
  assert.ok(whole.includes(ATTENTION_MARKER), `"${ATTENTION_MARKER}" does not tell attention's code: not even a bundle of everything has it`);
  assert.ok(!softmaxOnly.includes(ATTENTION_MARKER), "softmax takes attention's code along");
  for (const variant of VARIANTS) assert.ok(inlines(softmaxOnly, installed, variant), `softmax without the ${variant} binary`);
  const code = softmaxOnly.length - [...softmaxOnly.matchAll(PIECE)].join("").length / 2;
  return `${(code / 1024).toFixed(1)} KB without the binaries`;
}

/** A module that uses the installed package, as one minified text. */
async function bundle(project: string, source: string, options: BuildOptions = {}): Promise<string> {
  const stdin = { contents: source, resolveDir: project, sourcefile: "app.js" };
  const { outputFiles, warnings } = await build({ stdin, bundle: true, minify: true, format: "esm", write: false, logLevel: "silent", ...options });
  assert.deepEqual(
    warnings.map((warning) => warning.text),
    [],
  );
  return outputFiles?.[0]?.text ?? assert.fail("no bundle");
}

/** What needs no kernel takes no binary along, and an import for nothing leaves nothing behind. */
export async function checkUnused(project: string): Promise<string> {
  const tensorOnly = await bundle(project, `import { tensor } from "onepass"; console.log(tensor(new Float32Array(2)));`);
  assert.deepEqual(inlinedBinaries(tensorOnly), [], "tensor alone takes a binary along");
  const nothing = await bundle(project, `import "onepass";`, { logOverride: { "ignored-bare-import": "silent" } });
  assert.equal(nothing.trim(), "", "importing the package for nothing leaves code behind");
  return `tensor alone is ${tensorOnly.length} bytes`;
}
