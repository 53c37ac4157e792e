// Checks the package as its users get it: packs it, installs the tarball in an empty project, and uses it from there with every supported
// Node, with TypeScript and through a bundler.
//
//   --quick   leaves out the Node versions that would have to be installed
//
// In CI (environment variable CI) a Node version that cannot be had is a failure; elsewhere it is skipped, with the reason.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build, type BuildOptions } from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { decode } from "../src/backend/wasm/inlined.ts";
import { Checks } from "./checks.ts";

const NODE_MAJORS = [20, 22, 24];
/** The first major version with relaxed SIMD switched on. */
const RELAXED_SINCE_NODE = 22;
const VARIANTS = ["baseline", "relaxed"] as const;
/** The largest distance of an f32 probability from its float64 value that a smoke test lets pass. */
const TOLERANCE = 1e-6;
/** What a package holds besides dist/. */
const TOP_FILES = ["CHANGELOG.md", "LICENSE", "README.md", "package.json"];

const root = fileURLToPath(new URL("..", import.meta.url));
const quick = process.argv.includes("--quick");
const work = mkdtempSync(join(tmpdir(), "onepass-package-"));
const project = join(work, "project");
const installed = join(project, "node_modules/onepass");
const checks = new Checks();

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly type?: string;
}

interface Smoke {
  readonly input: readonly number[];
  readonly relaxed: boolean;
  readonly softmax: readonly number[] | string;
  readonly required: readonly number[] | string;
  readonly sameModule: boolean;
  readonly instance: readonly number[] | string;
  readonly standardOverflows: boolean | string;
  readonly wasmValid: Readonly<Record<(typeof VARIANTS)[number], boolean>>;
}

/** Runs a program and returns what it prints; an error carries all of its output. */
function run(program: string, args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): string {
  try {
    return execFileSync(program, args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 26, ...options });
  } catch (error) {
    const { stdout, stderr, message } = error as Error & { stdout?: string; stderr?: string };
    throw new Error([message.split("\n")[0], stdout, stderr].filter(Boolean).join("\n"), { cause: error });
  }
}

/** Runs a program of a dev dependency with the Node that runs this. */
function runTool(path: string, args: readonly string[], cwd = root): string {
  return run(process.execPath, [join(root, "node_modules", path), ...args], { cwd });
}

function filesUnder(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => statSync(join(directory, file)).isFile())
    .map((file) => file.split(sep).join("/"))
    .sort();
}

function softmaxOf(input: readonly number[]): number[] {
  const max = Math.max(...input);
  const exps = input.map((x) => Math.exp(x - max));
  const sum = exps.reduce((a, b) => a + b);
  return exps.map((e) => e / sum);
}

function assertSoftmax(actual: unknown, input: readonly number[]): void {
  assert.ok(Array.isArray(actual), `expected probabilities, got ${JSON.stringify(actual)}`);
  const expected = softmaxOf(input);
  assert.equal(actual.length, expected.length);
  expected.forEach((p, i) => {
    const got: unknown = actual[i];
    assert.ok(typeof got === "number" && Math.abs(got - p) <= TOLERANCE, `element ${i}: expected ${p}, got ${String(got)}`);
  });
}

/** The Node of the system: the first on PATH that is not a dependency's. */
function systemNode(): string | undefined {
  const directories = (process.env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "" && !directory.includes("node_modules"));
  return directories.map((directory) => join(directory, process.platform === "win32" ? "node.exe" : "node")).find((path) => existsSync(path));
}

function versionOf(node: string): string {
  return run(node, ["--version"]).trim();
}

function majorOf(version: string): number {
  return Number(/^v(\d+)\./.exec(version)?.[1]);
}

/** The executable of the npm package `node@major`, installed into build/nodes/ if it is not there yet. */
function installNode(major: number): string {
  const prefix = join(root, "build/nodes", String(major));
  const path = join(prefix, "node_modules/node/bin/node");
  if (!existsSync(path)) {
    mkdirSync(prefix, { recursive: true });
    run("npm", ["install", "--prefix", prefix, "--no-audit", "--no-fund", `node@${major}`]);
  }
  return path;
}

/** An executable for each Node version to check, or why there is none. */
function findNodes(): { version: string; path?: string; reason?: string }[] {
  const atHand = [process.execPath, systemNode()].filter((path) => path !== undefined).map((path) => ({ path, version: versionOf(path) }));
  const wanted = NODE_MAJORS.map((major) => {
    const found = atHand.find(({ version }) => majorOf(version) === major);
    if (found !== undefined) return found;
    const name = `v${major}`;
    if (quick) return { version: name, reason: "would have to be installed; run without --quick" };
    try {
      const path = installNode(major);
      return { version: versionOf(path), path };
    } catch (error) {
      return { version: name, reason: `cannot be installed: ${(error as Error).message}` };
    }
  });
  // The system's own may be another version than those.
  return [...wanted, ...atHand.filter(({ version }) => !NODE_MAJORS.includes(majorOf(version)))];
}

/** Bundles a module that uses the installed package. */
async function bundle(source: string, options: BuildOptions): Promise<string> {
  const stdin = { contents: source, resolveDir: project, sourcefile: "app.js" };
  const { outputFiles, warnings } = await build({ stdin, bundle: true, minify: true, format: "esm", write: false, logLevel: "silent", ...options });
  assert.deepEqual(
    warnings.map((warning) => warning.text),
    [],
  );
  return outputFiles?.[0]?.text ?? assert.fail("no bundle");
}

/** The two binaries that a script has inlined (scripts/build.ts): a table of byte values, and pieces of the two in turn. */
function inlinedBinaries(script: string): Buffer[] {
  const table = /["'`]([0-9a-f]{512})["'`]/.exec(script)?.[1];
  if (table === undefined) return [];
  const pieces = [...script.matchAll(/["'`]([#-[\]-~]{600,})["'`]/g)].map(([, text = ""]) => text).filter((text) => text !== table);
  return VARIANTS.map((_, mine) => Buffer.from(decode(pieces.filter((_, i) => i % 2 === mine).join(""), table)));
}

/** Whether a script has all of a binary inlined. */
function inlines(script: string, variant: (typeof VARIANTS)[number]): boolean {
  return inlinedBinaries(script)[VARIANTS.indexOf(variant)]?.equals(readFileSync(join(installed, `dist/wasm/${variant}.wasm`))) ?? false;
}

function checkContents(): string {
  const files = filesUnder(installed);
  for (const file of [...TOP_FILES, "dist/index.js", "dist/index.d.ts", "dist/testing.js", "dist/testing.d.ts"]) {
    assert.ok(files.includes(file), `${file} is missing`);
  }
  const odd = files.filter((file) => !TOP_FILES.includes(file) && !/^dist\/[\w./-]+\.(js|js\.map|d\.ts|wasm)$/.test(file));
  assert.deepEqual(odd, [], "files that do not belong into the package");
  const tests = files.filter((file) => /(^|\/)(test|tests|bench|reference)\/|\.(test|bench)\./.test(file));
  assert.deepEqual(tests, [], "tests in the package");
  const bytes = files.reduce((sum, file) => sum + statSync(join(installed, file)).size, 0);
  return `${files.length} files, ${(bytes / 1024).toFixed(0)} KB unpacked`;
}

/** The raw files are the inlined binaries. */
function checkInlined(): void {
  const scripts = filesUnder(join(installed, "dist")).filter((file) => file.endsWith(".js"));
  const text = scripts.map((file) => readFileSync(join(installed, "dist", file), "utf8")).join("\n");
  for (const variant of VARIANTS) assert.ok(inlines(text, variant), `wasm/${variant}.wasm is not inlined`);
}

/** Each engine, with each binary that it can run, by `import` and by `require`. */
function checkNode(path: string, major: number): string {
  const hasRelaxed = major >= RELAXED_SINCE_NODE;
  const smoke = (variant: string): Smoke => {
    const env = { ...process.env, ONEPASS_WASM: variant, NODE_OPTIONS: "" };
    return JSON.parse(run(path, ["smoke.mjs"], { cwd: project, env })) as Smoke;
  };
  for (const variant of ["", ...VARIANTS]) {
    const found = smoke(variant);
    assert.equal(found.relaxed, hasRelaxed, "whether the engine has relaxed SIMD");
    assert.deepEqual(found.wasmValid, { baseline: true, relaxed: hasRelaxed }, "which raw .wasm files the engine accepts");
    assert.ok(found.sameModule, "import and require give different modules");
    if (variant === "relaxed" && !hasRelaxed) {
      assert.equal(found.softmax, "UnsupportedError", "ONEPASS_WASM=relaxed without relaxed SIMD");
      continue;
    }
    assertSoftmax(found.softmax, found.input);
    assert.deepEqual(found.required, found.softmax, "require gives other numbers than import");
    assert.deepEqual(found.instance, found.softmax, `ONEPASS_WASM="${variant}" gives other numbers than that binary`);
    assert.equal(found.standardOverflows, true, "standard softmax did not overflow");
  }
  return hasRelaxed ? "both binaries" : "baseline only: no relaxed SIMD";
}

/** Strict projects, with no library beyond the language's own and with the declarations checked as well. */
function checkTypes(module: string, moduleResolution: string): void {
  const directory = join(project, `types-${moduleResolution}`);
  mkdirSync(directory);
  cpSync(join(root, "test/package/consumer.txt"), join(directory, "consumer.ts"));
  const compilerOptions = { strict: true, noEmit: true, target: "ES2022", lib: ["ES2022"], types: [], skipLibCheck: false, module, moduleResolution };
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
  runTool("typescript/bin/tsc", ["-p", directory]);
}

const USE = `import { softmax } from "onepass";
console.log(JSON.stringify([...softmax(Float32Array.of(1, 2, 3)).data]));`;

try {
  let tarball = "";
  await checks.run("npm pack", () => {
    run("npm", ["pack", "--pack-destination", work]);
    tarball = join(work, readdirSync(work).find((file) => file.endsWith(".tgz")) ?? assert.fail("no tarball"));
    return `${(statSync(tarball).size / 1024).toFixed(0)} KB`;
  });

  await checks.run("publint", async () => {
    const bytes = readFileSync(tarball);
    const { messages, pkg } = await publint({ strict: true, pack: { tarball: new Uint8Array(bytes).buffer } });
    assert.deepEqual(
      messages.map((message) => formatMessage(message, pkg)),
      [],
    );
    return undefined;
  });

  await checks.run("attw", () => {
    // No types describe a .wasm file; every other entry counts.
    const wasm = VARIANTS.map((variant) => `./wasm/${variant}.wasm`);
    const options = ["--profile", "esm-only", "--no-definitely-typed", "--no-emoji", "--no-color", "--format", "table-flipped"];
    runTool("@arethetypeswrong/cli/dist/index.js", [tarball, ...options, "--exclude-entrypoints", ...wasm]);
    return undefined;
  });

  await checks.run("installs offline, without dependencies", () => {
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
    run("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", tarball], { cwd: project });
    cpSync(join(root, "test/package/smoke.mjs"), join(project, "smoke.mjs"));
    const { name, version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as Manifest;
    assert.deepEqual(
      readdirSync(join(project, "node_modules")).filter((entry) => !entry.startsWith(".")),
      [name],
    );
    return `${name} ${version}`;
  });

  await checks.run("holds what it should and no tests", checkContents);

  await checks.run("the raw .wasm files equal the inlined ones", () => {
    checkInlined();
    return undefined;
  });

  for (const [module, resolution] of [
    ["NodeNext", "nodenext"],
    ["ESNext", "bundler"],
  ] as const) {
    await checks.run(`types, moduleResolution ${resolution}`, () => {
      checkTypes(module, resolution);
      return undefined;
    });
  }

  for (const platform of ["browser", "node"] as const) {
    await checks.run(`esbuild bundle for ${platform} runs`, async () => {
      const path = join(work, `bundle-${platform}.mjs`);
      writeFileSync(path, await bundle(USE, { platform }));
      assertSoftmax(JSON.parse(run(process.execPath, [path])), [1, 2, 3]);
      return `${(statSync(path).size / 1024).toFixed(0)} KB minified`;
    });
  }

  await checks.run("unused code is left out of bundles", async () => {
    const [used, tensorOnly, nothing] = await Promise.all([
      bundle(USE, {}),
      bundle(`import { tensor } from "onepass"; console.log(tensor(new Float32Array(2)));`, {}),
      bundle(`import "onepass";`, { logOverride: { "ignored-bare-import": "silent" } }),
    ]);
    for (const variant of VARIANTS) {
      assert.ok(inlines(used, variant), `softmax without the ${variant} binary`);
    }
    assert.deepEqual(inlinedBinaries(tensorOnly), [], "tensor alone takes a binary along");
    assert.equal(nothing.trim(), "", "importing the package for nothing leaves code behind");
    return `tensor alone is ${tensorOnly.length} bytes`;
  });

  for (const { version, path, reason } of findNodes()) {
    const name = `Node ${version}`;
    if (path !== undefined) await checks.run(name, () => checkNode(path, majorOf(version)));
    else if (process.env["CI"] && !quick) await checks.run(name, () => assert.fail(reason));
    else checks.skip(name, reason?.split("\n")[0] ?? "not found");
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}

checks.finish("check-package");
