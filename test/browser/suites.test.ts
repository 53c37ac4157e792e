import { existsSync, globSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BROWSERS, type Browser } from "../package/browsers.ts";
import { Site } from "../package/site.ts";
import { unavailable } from "../support/variants.ts";
import { MARK, type Outcome } from "./outcome.ts";

// The suites of parity/ and properties/ in browsers: a page of its own for each file, cross-origin isolated, served over http.

const TESTS = fileURLToPath(new URL("..", import.meta.url));
const ROOT = join(TESTS, "../build/browser");
/** Cases of other projects, which lie beside this one (conformance/). */
const CASES = resolve(TESTS, "..", process.env["ONEPASS_CONFORMANCE"] ?? "../shared/fixtures/conformance");
/** JSON, but the site knows scripts and pages only. */
const DATA = "cases.js";
const FILES = globSync(["parity/*.test.ts", "properties/*.test.ts", ...(existsSync(CASES) ? ["conformance/*.test.ts"] : [])], { cwd: TESTS }).sort();
/** These are of the GPU alone, and of the plain functions alone. */
const ONLY_GPU = ["parity/half.test.ts"];
const ONLY_PLAIN = ["properties/online-softmax.test.ts"];

/** What each browser is asked to compute on. */
const SUBJECTS: Readonly<Record<keyof typeof BROWSERS, readonly string[]>> = {
  Chromium: ["baseline relaxed engine", "threads", "webgpu"],
  Firefox: ["baseline relaxed engine", "threads"],
};

let site: Site;

beforeAll(async () => {
  rmSync(ROOT, { recursive: true, force: true });
  await build({
    absWorkingDir: TESTS,
    entryPoints: [
      ...["browser/page.ts", ...FILES].map((file) => ({ in: file, out: file.replace(/\.ts$/, "") })),
      ...(existsSync(CASES) ? ["run", "lib/tensor"].map((name) => ({ in: join(CASES, `${name}.mjs`), out: `conformance/${name}` })) : []),
    ],
    outdir: ROOT,
    bundle: true,
    splitting: true,
    format: "esm",
    target: "esnext",
    define: { "process.env": "globalThis.environment", "process.argv": "[]" },
    alias: Object.fromEntries(["node:fs", "node:path", "node:url"].map((name) => [name, join(TESTS, "browser/node-shim.ts")])),
    // What only Node gets to.
    external: ["webgpu", "node:worker_threads"],
    logLevel: "error",
  });
  writeFileSync(join(ROOT, "page.html"), '<!doctype html><link rel="icon" href="data:,"><script type="module" src="browser/page.js"></script>');
  if (existsSync(CASES)) {
    const cases = readdirSync(join(CASES, "cases")).map((name) => [name, readFileSync(join(CASES, "cases", name)).toString("base64")]);
    writeFileSync(join(ROOT, DATA), JSON.stringify(Object.fromEntries(cases)));
  }
  site = await Site.start(ROOT);
});

afterAll(() => site.stop());

/** What the page for a file has to say. */
async function outcomeOf(browser: Browser, file: string, subjects: string): Promise<Outcome> {
  const page = await browser.newPage();
  const query = new URLSearchParams({
    file: file.replace(/\.ts$/, ".js"),
    subjects,
    ci: process.env["CI"] ?? "",
    ...(file.startsWith("conformance/") && { data: DATA }),
  });
  await page.open(`${site.url("isolated", "page.html")}?${query}`);
  for (;;) {
    const line = page.lines.find((text) => text.startsWith(MARK));
    if (line !== undefined) {
      await page.close();
      return JSON.parse(line.slice(MARK.length)) as Outcome;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe.each(Object.keys(BROWSERS) as (keyof typeof BROWSERS)[])("%s", (name) => {
  let browser: Browser | undefined;
  let missing = "";

  beforeAll(async () => {
    try {
      browser = await BROWSERS[name]();
    } catch (error) {
      missing = error instanceof Error ? error.message : String(error);
      console.info(`${name}: skipped, ${missing}`);
    }
  });

  afterAll(() => browser?.close());

  describe.each(SUBJECTS[name])("%s", (subjects) => {
    const others = subjects === "webgpu" ? ONLY_PLAIN : subjects === "threads" ? [...ONLY_PLAIN, ...ONLY_GPU] : ONLY_GPU;

    test.for(FILES.filter((file) => !others.includes(file)))("%s", async (file, { skip }) => {
      if (browser === undefined) {
        unavailable(skip, missing);
        return;
      }
      const { passed, failed } = await outcomeOf(browser, file, subjects);
      expect(failed).toEqual([]);
      expect(passed).toBeGreaterThan(0);
    });
  });
});
