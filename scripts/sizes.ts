// Download sizes: what `import "onepass"` loads at once, what remains of it for softmax alone, and what it loads when the GPU is
// asked for.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { binaryOf } from "../src/backend/wasm/module/family.ts";
import { ROWS } from "../src/backend/wasm/module/rows-family.ts";
import { inlinedBinaries } from "../test/package/inlined-binaries.ts";
import { type Metafile, type OutputFile, type Plugin, build } from "esbuild";

/** Everything that `import "onepass"` loads at once, minified and gzipped: both binaries of every family are in it. */
const MAX_CORE_GZIP_BYTES = 64 * 1024;
/** What a bundler keeps of it for `import { softmax } from "onepass"`. */
const MAX_SOFTMAX_GZIP_BYTES = 20.5 * 1024;
/** What only a call on the GPU loads, minified and gzipped. */
const MAX_WEBGPU_GZIP_BYTES = 25 * 1024;
/** A chunk with sources from this folder counts as part of the GPU backend. */
const WEBGPU_SOURCES = /(^|\/)src\/backend\/webgpu\//;
/** A text that only WGSL contains. */
const WEBGPU_MARKER = "@workgroup_size";

const gzipBytes = (contents: Uint8Array): number => gzipSync(contents, { level: 9 }).length;

/** Leaves `import()` as it is: what it imports is not part of the file. */
const dynamicImportsStay: Plugin = {
  name: "dynamic imports stay",
  setup(build) {
    build.onResolve({ filter: /.*/ }, ({ kind, path }) => (kind === "dynamic-import" ? { path, external: true } : undefined));
  },
};

/** A module and everything it imports statically, as one minified file. */
async function staticPart(contents: string, directory: string): Promise<OutputFile> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: directory },
    bundle: true,
    minify: true,
    format: "esm",
    write: false,
    logLevel: "error",
    plugins: [dynamicImportsStay],
  });
  return outputFiles[0] ?? assert.fail("no bundle");
}

/** The size of the core entry, which must not contain any GPU code. */
export async function checkCore(dist: string): Promise<string> {
  const core = await staticPart('export * from "./index.js";', dist);
  assert.ok(!core.text.includes(WEBGPU_MARKER), "the core entry holds WGSL");
  const bytes = gzipBytes(core.contents);
  assert.ok(bytes <= MAX_CORE_GZIP_BYTES, `${bytes} bytes, more than ${MAX_CORE_GZIP_BYTES}`);
  return `${bytes} of ${MAX_CORE_GZIP_BYTES} bytes`;
}

/** The size of softmax alone, which must contain all row kernels and none of another family. */
export async function checkSoftmax(dist: string): Promise<string> {
  const softmax = await staticPart('export { softmax } from "./index.js";', dist);
  const exportsOf = (module: WebAssembly.Module): string[] => WebAssembly.Module.exports(module).map(({ name }) => name);
  const found = inlinedBinaries(softmax.text).map((bytes) => exportsOf(new WebAssembly.Module(bytes)));
  const rows = exportsOf(new WebAssembly.Module(binaryOf(ROWS, "baseline")));
  assert.deepEqual(found, [rows, rows], "the kernels in the bundle");
  const bytes = gzipBytes(softmax.contents);
  assert.ok(bytes <= MAX_SOFTMAX_GZIP_BYTES, `${bytes} bytes, more than ${MAX_SOFTMAX_GZIP_BYTES}`);
  return `${bytes} of ${MAX_SOFTMAX_GZIP_BYTES} bytes`;
}

/** The files of dist/ that contain sources of the WebGPU backend, according to their source maps. */
function webgpuFiles(dist: string): Set<string> {
  const maps = readdirSync(dist).filter((file) => file.endsWith(".js.map"));
  const found = maps.filter((file) =>
    (JSON.parse(readFileSync(join(dist, file), "utf8")) as { sources: string[] }).sources.some((source) => WEBGPU_SOURCES.test(source)),
  );
  return new Set(found.map((file) => file.slice(0, -".map".length)));
}

type Outputs = Metafile["outputs"];

/** The chunks reachable from some chunks, through all imports that `follow` accepts. */
function reachable(outputs: Outputs, from: readonly string[], follow: (kind: string, path: string) => boolean): Set<string> {
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const next of outputs[path]?.imports ?? []) if (next.external !== true && follow(next.kind, next.path)) visit(next.path);
  };
  from.forEach(visit);
  return seen;
}

/** The size of what only the GPU needs; `undefined` if there is no such part. */
export async function checkWebGpu(dist: string): Promise<string | undefined> {
  const files = webgpuFiles(dist);
  if (files.size === 0) return undefined;
  const { outputFiles, metafile } = await build({
    entryPoints: [join(dist, "index.js")],
    outdir: "out",
    bundle: true,
    splitting: true,
    minify: true,
    format: "esm",
    metafile: true,
    write: false,
    logLevel: "error",
  });
  const { outputs } = metafile;
  const holdsWebGpu = (path: string): boolean => Object.keys(outputs[path]?.inputs ?? {}).some((input) => files.has(basename(input)));
  const entry = Object.keys(outputs).find((path) => basename(outputs[path]?.entryPoint ?? "") === "index.js") ?? assert.fail("no entry");
  const atOnce = reachable(outputs, [entry], (kind) => kind !== "dynamic-import");
  assert.deepEqual([...atOnce].filter(holdsWebGpu), [], "chunks that the core entry loads at once hold the WebGPU backend");
  const others = reachable(outputs, [entry], (_, path) => !holdsWebGpu(path));
  const roots = Object.keys(outputs).filter(holdsWebGpu);
  const mine = [...reachable(outputs, roots, () => true)].filter((path) => !others.has(path));
  const sizeOf = (path: string): number => gzipBytes(outputFiles.find((file) => file.path.endsWith(path))?.contents ?? assert.fail(`no chunk ${path}`));
  const bytes = mine.reduce((sum, path) => sum + sizeOf(path), 0);
  assert.ok(bytes <= MAX_WEBGPU_GZIP_BYTES, `${bytes} bytes, more than ${MAX_WEBGPU_GZIP_BYTES}`);
  return `${bytes} of ${MAX_WEBGPU_GZIP_BYTES} bytes in ${mine.length} chunks`;
}
