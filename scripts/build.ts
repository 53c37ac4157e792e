// Builds everything that is not committed: the binaries and the worker's script, their inlined forms, the JavaScript bundle and the types.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Plugin, build } from "esbuild";
import { TARGETS, assemble, forEachAtOnce } from "./assemble.ts";
import { FAMILIES } from "./families.ts";
import { SINGLE_COUNT, encode } from "../src/backend/wasm/module/inlined.ts";
import { shareMemoryOf } from "../src/backend/wasm/module/shared-binary.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const generated = `${root}src/backend/wasm/generated`;
/** The most bytes of a binary in one piece of the inlined form. */
const PIECE = 8192;
const wasmOnly = process.argv.includes("--wasm");

/** A built binary by its name. */
function binary(name: string): Buffer {
  return readFileSync(`${root}build/${name}.wasm`);
}

/**
 * Makes declarations readable in any project: compilers before version 5 do not follow specifiers that end in `.ts`, and
 * `Symbol.dispose` is in a library that the reader's `lib` may lack.
 */
function finishDeclarations(directory: string): void {
  for (const file of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".d.ts")) continue;
    const text = readFileSync(`${directory}/${file}`, "utf8").replace(/((?:from|import) "|import\(")(\.{1,2}\/[^"]+)\.ts"/g, '$1$2.js"');
    writeFileSync(`${directory}/${file}`, text.includes("Symbol.dispose") ? `/// <reference lib="esnext.disposable" />\n${text}` : text);
  }
}

/** The worker threads' script, in one piece that runs both as a classic script and as a module. */
async function bundleWorker(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ["src/backend/wasm/drivers/worker.ts"],
    bundle: true,
    minify: true,
    format: "iife",
    target: "es2022",
    write: false,
    logLevel: "warning",
  });
  return outputFiles[0]?.text.trimEnd() ?? "";
}

/** The most frequent byte values, which are encoded as one character each. */
function mostFrequent(bytes: Uint8Array): Uint8Array {
  const counts = new Array<number>(256).fill(0);
  for (const byte of bytes) counts[byte] = (counts[byte] ?? 0) + 1;
  return Uint8Array.from([...counts.keys()].sort((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0)).slice(0, SINGLE_COUNT));
}

/** Pieces of two binaries in turn, close enough together for gzip's window of 32 KB. */
function interleave(a: Buffer, b: Buffer, singles: Uint8Array): string[] {
  const count = Math.ceil(Math.max(a.length, b.length) / PIECE);
  const cut = (bytes: Buffer, i: number): Buffer => bytes.subarray(Math.round((i * bytes.length) / count), Math.round(((i + 1) * bytes.length) / count));
  return Array.from({ length: count }, (_, i) => [encode(cut(a, i), singles), encode(cut(b, i), singles)]).flat();
}

/** Strips comments and indentation from WGSL, which minifiers leave alone: saves 1 KB after gzip. TypeScript is not affected. */
const compactShaders: Plugin = {
  name: "compact shaders",
  setup(bundle) {
    bundle.onLoad({ filter: /backend[\\/]webgpu[\\/]kernels[\\/]/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8")
        .replace(/^ *\/\/.*\n/gm, "")
        .replace(/^ +/gm, ""),
      loader: "ts",
    }));
  },
};

mkdirSync(`${root}build`, { recursive: true });
await forEachAtOnce(TARGETS, async (target) => {
  const file = `${root}build/${target.name}.wasm`;
  writeFileSync(file, await assemble(target, file));
});
rmSync(generated, { recursive: true, force: true });
mkdirSync(generated, { recursive: true });
FAMILIES.forEach(({ name }, index) => {
  const [baseline, relaxed] = [binary(`${name}-baseline`), binary(`${name}-relaxed`)];
  const singles = mostFrequent(Buffer.concat([baseline, relaxed]));
  writeFileSync(
    `${generated}/${name}.ts`,
    `// Written by scripts/build.ts from assembly/families/${name}.ts: pieces of the baseline and of the relaxed binary in turn, encoded as
// inlined.ts says. In turn, because gzip then finds the repeats between the two as well.
export const BINARIES = {
 index: ${index},
 singles: "${Buffer.from(singles).toString("hex")}",
 pieces: ${JSON.stringify(interleave(baseline, relaxed, singles), null, 1)},
};
`,
  );
});
const worker = await bundleWorker();
writeFileSync(
  `${generated}/worker-source.ts`,
  `// Written by scripts/build.ts from src/backend/wasm/drivers/worker.ts: workers start from this text, as bundlers still lose files.
export const WORKER_SOURCE: string = ${JSON.stringify(worker)};
`,
);

if (!wasmOnly) {
  rmSync(`${root}dist`, { recursive: true, force: true });
  await build({
    absWorkingDir: root,
    entryPoints: { index: "src/index.ts", testing: "src/testing/testing.ts" },
    outdir: "dist",
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    sourcemap: true,
    sourcesContent: true,
    plugins: [compactShaders],
    logLevel: "warning",
  });
  execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
  finishDeclarations(`${root}dist`);
  writeFileSync(`${root}dist/worker.js`, `${worker}\n`);
  mkdirSync(`${root}dist/wasm`, { recursive: true });
  for (const variant of ["baseline", "relaxed"]) {
    const bytes = Uint8Array.from(binary(`whole-${variant}`));
    writeFileSync(`${root}dist/wasm/${variant}.wasm`, bytes);
    writeFileSync(`${root}dist/wasm/${variant}-shared.wasm`, shareMemoryOf(bytes));
  }
}
