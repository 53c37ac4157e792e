// Builds everything that is not committed: the two binaries and the worker's script, their inlined forms, the JavaScript bundle and
// the types.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Plugin, build } from "esbuild";
import { markVariant } from "./mark-variant.ts";
import { encode } from "../src/backend/wasm/module/inlined.ts";
import { shareMemoryOf } from "../src/backend/wasm/module/shared-binary.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Bytes of a binary per piece of the inlined form. */
const PIECE = 8192;
const wasmOnly = process.argv.includes("--wasm");

/** Compiles one binary. The compiler runs as a program because the types of its module form redeclare globals for the whole project. */
function assemble(target: "baseline" | "relaxed"): Buffer {
  execFileSync(process.execPath, [`${root}node_modules/assemblyscript/bin/asc.js`, "--target", target], { cwd: root, stdio: "inherit" });
  const marked = markVariant(readFileSync(`${root}build/${target}.wasm`), target);
  writeFileSync(`${root}build/${target}.wasm`, marked);
  return marked;
}

/**
 * Makes declarations readable in any project: compilers before 5 do not follow specifiers that end in `.ts`, and `Symbol.dispose`
 * is in a library that the reader's `lib` may lack.
 */
function finishDeclarations(directory: string): void {
  for (const file of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".d.ts")) continue;
    const text = readFileSync(`${directory}/${file}`, "utf8").replace(/((?:from|import) "|import\(")(\.{1,2}\/[^"]+)\.ts"/g, '$1$2.js"');
    writeFileSync(`${directory}/${file}`, text.includes("Symbol.dispose") ? `/// <reference lib="esnext.disposable" />\n${text}` : text);
  }
}

/** The script of the worker threads, in one piece that runs as a classic script and as a module. */
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

/** All byte values, most frequent first. */
function byFrequency(bytes: Uint8Array): Uint8Array {
  const counts = new Array<number>(256).fill(0);
  for (const byte of bytes) counts[byte] = (counts[byte] ?? 0) + 1;
  return Uint8Array.from([...counts.keys()].sort((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0)));
}

/** Pieces of two binaries in turn, close enough to each other for the window of gzip, 32 KB. */
function interleave(a: Buffer, b: Buffer, table: Uint8Array): string[] {
  const pieces: string[] = [];
  for (let i = 0; i < Math.max(a.length, b.length); i += PIECE) pieces.push(encode(a.subarray(i, i + PIECE), table), encode(b.subarray(i, i + PIECE), table));
  return pieces;
}

/** Takes comments and indentation out of WGSL, which minifiers do not touch: 1 KB after gzip. TypeScript does not mind. */
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
mkdirSync(`${root}src/backend/wasm/generated`, { recursive: true });
const baseline = assemble("baseline");
const relaxed = assemble("relaxed");
const table = byFrequency(Buffer.concat([baseline, relaxed]));
writeFileSync(
  `${root}src/backend/wasm/generated/binaries.ts`,
  `// Written by scripts/build.ts from assembly/: pieces of the baseline and of the relaxed binary in turn, encoded as inlined.ts says. In
// turn, because gzip then finds the repeats between the two as well.
export const TABLE = "${Buffer.from(table).toString("hex")}";
export const BINARIES: readonly string[] = ${JSON.stringify(interleave(baseline, relaxed, table), null, 1)};
`,
);
const worker = await bundleWorker();
writeFileSync(
  `${root}src/backend/wasm/generated/worker-source.ts`,
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
  for (const [name, bytes] of Object.entries({ baseline, relaxed })) {
    writeFileSync(`${root}dist/wasm/${name}.wasm`, bytes);
    writeFileSync(`${root}dist/wasm/${name}-shared.wasm`, shareMemoryOf(Uint8Array.from(bytes)));
  }
}
