// Checks the package as its users get it: packs it, installs the tarball in an empty project, and uses it there with every supported
// runtime, with TypeScript, through bundlers and in browsers.
//
//   --quick   skips what needs installing: other Node versions, Bun, Deno, the larger bundlers
//
// In CI (environment variable CI) a missing runtime or browser is a failure; elsewhere it is skipped, with the reason.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { REPORTING } from "../test/package/browsers.ts";
import { BUNDLERS, type Bundler, SHAKEN, scriptsOf } from "../test/package/bundlers.ts";
import { checkContents, checkInlined, checkShaken, checkUnused } from "../test/package/contents.ts";
import { buildSite, checkSite } from "../test/package/next.ts";
import { assertRendered, checkHydration, checkPage, checkServer } from "../test/package/pages.ts";
import { ROOT, run } from "../test/package/program.ts";
import { type Runtime, checkRuntime, versionOf } from "../test/package/runtimes.ts";
import { Site } from "../test/package/site.ts";
import { ENGINES, installTools, systemNode } from "../test/package/tools.ts";
import { checkAttw, checkPublint, checkTypes } from "../test/package/types.ts";
import { Checks } from "./checks.ts";

const NODE_MAJORS = [20, 22, 24, 26];
/** The first major version with relaxed SIMD enabled. */
const RELAXED_SINCE_NODE = 22;

const quick = process.argv.includes("--quick");
const inCi = (process.env["CI"] ?? "") !== "";
const work = mkdtempSync(join(tmpdir(), "onepass-package-"));
const project = join(work, "project");
const sites = join(work, "sites");
const apps = join(project, "apps");
const installed = join(project, "node_modules/onepass");
const checks = new Checks();

/** Why the tools of test/package/ are missing; empty if they are not. */
let toolsMissing = quick ? "would have to be installed; run without --quick" : "";

/** Checks something that this machine may lack. */
async function runOrSkip(name: string, missing: string, run: () => Promise<string | undefined>): Promise<void> {
  if (missing === "") await checks.run(name, run);
  else if (inCi && !quick) await checks.run(name, () => assert.fail(missing));
  else checks.skip(name, missing.split("\n")[0] ?? "");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function checkNodes(): Promise<void> {
  const atHand = new Map<number, string>();
  for (const path of [systemNode(), process.execPath]) if (path !== undefined) atHand.set(majorOf(await versionOf(path)), path);
  for (const major of new Set([...NODE_MAJORS, ...atHand.keys()])) {
    const path = atHand.get(major);
    const name = `Node ${path === undefined ? major : await versionOf(path)}`;
    await runOrSkip(name, path === undefined ? toolsMissing : "", () =>
      checkRuntime({ path: path ?? ENGINES.node(major), args: () => [], relaxed: major >= RELAXED_SINCE_NODE }, apps),
    );
  }
}

function majorOf(version: string): number {
  return Number(/^v(\d+)\./.exec(version)?.[1]);
}

const OTHER_RUNTIMES: Readonly<Record<string, () => Runtime>> = {
  Bun: () => ({ path: ENGINES.bun(), args: () => [], relaxed: true }),
  Deno: () => ({
    path: ENGINES.deno(),
    args: (allowed) => ["run", "--no-prompt", "--quiet", ...(allowed ? ["--allow-read", "--allow-env"] : [])],
    relaxed: true,
  }),
};

/** A bundle's folder inside the folder that is served. */
function folderOf(bundler: Bundler, entry: string): string {
  return `${bundler.name.toLowerCase().replaceAll(" ", "-")}/${entry}`;
}

/** Bundles for browsers and for a server. Returns what a server rendered with each bundle that was built. */
async function checkBundlers(): Promise<Map<Bundler, string>> {
  const made = new Map<Bundler, string>();
  for (const bundler of BUNDLERS) {
    const missing = bundler.atHand ? "" : toolsMissing;
    // Without a bundler nothing is left out.
    const shakes = bundler.name !== "no bundler";
    await runOrSkip(`${bundler.name}: ${shakes ? "softmax leaves attention out, " : ""}what a server imports touches nothing`, missing, async () => {
      const outDir = (entry: string): string => join(sites, folderOf(bundler, entry));
      for (const entry of ["page", "client", SHAKEN]) await bundler.page(project, entry, outDir(entry));
      cpSync(join(installed, "dist/worker.js"), join(outDir("page"), "onepass-worker.js"));
      const rendered = await checkServer(project, await bundler.server(project, "server", join(project, "servers", bundler.name)));
      made.set(bundler, rendered);
      return shakes ? checkShaken(installed, scriptsOf(outDir(SHAKEN)), scriptsOf(outDir("page"))) : undefined;
    });
  }
  return made;
}

/** Builds a Next.js site. Returns what its server rendered; `undefined` if there is no site. */
async function checkNext(): Promise<string | undefined> {
  let rendered: string | undefined;
  await runOrSkip("Next.js: builds, and its server renders", toolsMissing, async () => {
    rendered = await buildSite(project, sites);
    assertRendered(rendered);
    return undefined;
  });
  return rendered;
}

async function checkBrowsers(rendered: ReadonlyMap<Bundler, string>, next: string | undefined): Promise<void> {
  const site = await Site.start(sites);
  try {
    for (const [name, start] of Object.entries(REPORTING)) {
      let browser;
      try {
        browser = await start();
      } catch (error) {
        await runOrSkip(name, `cannot be started: ${messageOf(error)}`, () => Promise.resolve(undefined));
        continue;
      }
      for (const [bundler, text] of rendered) {
        await checks.run(`${browser.version}, ${bundler.name}`, () =>
          checkPage(browser, site, `${folderOf(bundler, "page")}/index.html`, name === "Chromium" ? "required" : "possible"),
        );
        const folder = folderOf(bundler, "client");
        await checks.run(`${browser.version}, ${bundler.name}, over what a server rendered`, async () => {
          await checkHydration(browser, site, join(sites, folder), `${folder}/index.html`, text);
          return undefined;
        });
      }
      if (next !== undefined) await checks.run(`${browser.version}, Next.js`, () => checkSite(browser, site, next));
      await browser.close();
    }
  } finally {
    await site.stop();
  }
}

try {
  // Download while the first checks run.
  const tools = quick ? undefined : installTools().catch((error: unknown) => (toolsMissing = `cannot be installed: ${messageOf(error)}`));
  let tarball = "";
  await checks.run("npm pack", async () => {
    await run("npm", ["pack", "--pack-destination", work]);
    tarball = join(work, readdirSync(work).find((file) => file.endsWith(".tgz")) ?? assert.fail("no tarball"));
    return `${(statSync(tarball).size / 1024).toFixed(0)} KB`;
  });
  await checks.run("publint", () => checkPublint(tarball));
  await checks.run("attw", () => checkAttw(tarball));
  await checks.run("installs offline, without dependencies", async () => {
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
    await run("npm", ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", tarball], { cwd: project });
    cpSync(join(ROOT, "test/package/apps"), apps, { recursive: true });
    const { name, version } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as { name: string; version: string };
    assert.deepEqual(
      readdirSync(join(project, "node_modules")).filter((entry) => !entry.startsWith(".")),
      [name],
    );
    return `${name} ${version}`;
  });
  await checks.run("holds what it should and no tests", () => checkContents(installed));
  await checks.run("the raw .wasm files have the kernels of the inlined ones", () => checkInlined(installed));
  await checks.run("unused code is left out", () => checkUnused(project));
  await checks.run("types, moduleResolution nodenext", () =>
    checkTypes(project, { module: "NodeNext", moduleResolution: "nodenext", lib: "ES2022" }, ["consumer"]),
  );
  await checks.run("types, moduleResolution bundler", () =>
    checkTypes(project, { module: "ESNext", moduleResolution: "bundler", lib: "ES2022" }, ["consumer"]),
  );
  await checks.run("types, with the newest library", () =>
    checkTypes(project, { module: "NodeNext", moduleResolution: "nodenext", lib: "ESNext" }, ["consumer", "newer"]),
  );
  await tools;
  await checkNodes();
  for (const [name, engine] of Object.entries(OTHER_RUNTIMES)) await runOrSkip(name, toolsMissing, () => checkRuntime(engine(), apps));
  await checkBrowsers(await checkBundlers(), await checkNext());
} finally {
  rmSync(work, { recursive: true, force: true });
}

checks.finish("check-package");
