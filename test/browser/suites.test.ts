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
/** This is of the plain functions alone. */
const ONLY_PLAIN = ["properties/online-softmax.test.ts"];
/** This is of the GPU alone. */
const ONLY_GPU = ["parity/half.test.ts"];
/**
 * Suites for SwiftShader, fifteen times slower than lavapipe and more: every operation, option and special value on small sizes. With all
 * of them it computes for more than ten minutes; what is left out are large sizes, and other places for the same numbers.
 */
const ON_SWIFTSHADER = [
  "conformance/attention",
  "conformance/rows",
  "parity/alibi-slopes",
  "parity/attention-edges",
  "parity/attention-varlen",
  "parity/block-mask",
  "parity/edges",
  "parity/log-sum-exp",
  "parity/modifiers",
  "properties/attention",
  "properties/attention-merge",
].map((name) => `${name}.test.ts`);

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

/** A page that has said nothing by then will not say anything any more. */
const PATIENCE_MS = 840_000;

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
  const until = Date.now() + PATIENCE_MS;
  let line: string | undefined;
  while (line === undefined && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    line = page.lines.find((text) => text.startsWith(MARK));
  }
  const said = page.lines.slice(-5).join("\n");
  await page.close();
  if (line === undefined) throw new Error(`no outcome within ${PATIENCE_MS / 1000} s; the page said last:\n${said}`);
  return JSON.parse(line.slice(MARK.length)) as Outcome;
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
    const asked = FILES.filter((file) =>
      subjects === "webgpu" ? ON_SWIFTSHADER.includes(file) : !ONLY_GPU.includes(file) && !(subjects === "threads" && ONLY_PLAIN.includes(file)),
    );

    test.for(asked)("%s", async (file, { skip }) => {
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
