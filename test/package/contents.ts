// What is in the package, and what a bundler leaves out of it.
import assert from "node:assert/strict";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join, sep } from "node:path";
import { type BuildOptions, build } from "esbuild";
import { inlinedBinaries, lengthWithoutBinaries } from "./inlined-binaries.ts";
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

/** The kernels of a binary. */
function kernelsOf(bytes: Uint8Array<ArrayBuffer>): string[] {
  return WebAssembly.Module.exports(new WebAssembly.Module(bytes)).map(({ name }) => name);
}

/** The kernels of all binaries of a variant that a script has inlined. */
function inlinedKernels(script: string, variant: Variant): string[] {
  return inlinedBinaries(script)
    .filter((_, i) => VARIANTS[i % VARIANTS.length] === variant)
    .flatMap(kernelsOf)
    .sort();
}

/** The inlined binaries, one for each family, have the kernels of the raw files, which have all families in one. */
export function checkInlined(installed: string): void {
  // What only tests call is in none of the raw files.
  const scripts = filesUnder(join(installed, "dist")).filter((file) => file.endsWith(".js") && file !== "testing.js");
  const text = scripts.map((file) => readFileSync(join(installed, "dist", file), "utf8")).join("\n");
  for (const variant of VARIANTS) {
    const raw = kernelsOf(Uint8Array.from(readFileSync(join(installed, `dist/wasm/${variant}.wasm`))));
    assert.deepEqual(inlinedKernels(text, variant), raw.sort(), `kernels of the ${variant} binaries`);
  }
}

/** What a bundle of apps/softmax-only.js holds, and what it leaves out; `whole` is a bundle of everything. */
export function checkShaken(installed: string, softmaxOnly: string, whole: string): string {
  assert.ok(whole.includes(ATTENTION_MARKER), `"${ATTENTION_MARKER}" does not tell attention's code: not even a bundle of everything has it`);
  assert.ok(!softmaxOnly.includes(ATTENTION_MARKER), "softmax takes attention's code along");
  const rows = inlinedKernels(softmaxOnly, "baseline");
  assert.ok(rows.includes("softmax_online_f32"), "softmax without its kernel");
  assert.deepEqual(inlinedKernels(softmaxOnly, "relaxed"), rows, "kernels of the two variants");
  assert.deepEqual(
    rows.filter((name) => name.startsWith("attention")),
    [],
    "softmax takes attention's kernels along",
  );
  return `${(lengthWithoutBinaries(softmaxOnly) / 1024).toFixed(1)} KB without the binaries`;
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
