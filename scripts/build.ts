// Builds everything that is not committed: the two binaries, their inlined form, the JavaScript bundle and the types.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const wasmOnly = process.argv.includes("--wasm");

async function assemble(target: "baseline" | "relaxed"): Promise<Buffer> {
  const { error, stderr } = await asc.main(["--config", "asconfig.json", "--target", target, "--baseDir", root]);
  if (error !== null) throw new Error(`asc ${target}: ${error.message}\n${stderr.toString()}`);
  return readFileSync(`${root}build/${target}.wasm`);
}

mkdirSync(`${root}build`, { recursive: true });
mkdirSync(`${root}src/backend/wasm/generated`, { recursive: true });
const baseline = await assemble("baseline");
const relaxed = await assemble("relaxed");
writeFileSync(
  `${root}src/backend/wasm/generated/binaries.ts`,
  `// Written by scripts/build.ts from assembly/. Hexadecimal, not base64: it is longer as text, but gzip still finds the repeats
// within and between the two binaries, and what travels is a third smaller.
export const BASELINE_WASM = "${baseline.toString("hex")}";
export const RELAXED_WASM = "${relaxed.toString("hex")}";
`,
);

if (!wasmOnly) {
  rmSync(`${root}dist`, { recursive: true, force: true });
  await build({
    absWorkingDir: root,
    entryPoints: ["src/index.ts", "src/testing.ts"],
    outdir: "dist",
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    sourcemap: true,
    sourcesContent: true,
    logLevel: "warning",
  });
  execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
  mkdirSync(`${root}dist/wasm`, { recursive: true });
  writeFileSync(`${root}dist/wasm/baseline.wasm`, baseline);
  writeFileSync(`${root}dist/wasm/relaxed.wasm`, relaxed);
}
