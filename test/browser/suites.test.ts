import { globSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
const FILES = globSync(["parity/*.test.ts", "properties/*.test.ts"], { cwd: TESTS }).sort();
/** These are of the GPU alone, and of the CPU alone. */
const ONLY_GPU = ["parity/half.test.ts"];
const ONLY_CPU = ["properties/online-softmax.test.ts"];

/** What each browser is asked to compute on. */
const SUBJECTS: Readonly<Record<keyof typeof BROWSERS, readonly string[]>> = { Chromium: ["baseline relaxed", "webgpu"], Firefox: ["baseline relaxed"] };

let site: Site;

beforeAll(async () => {
  rmSync(ROOT, { recursive: true, force: true });
  await build({
    absWorkingDir: TESTS,
    entryPoints: ["browser/page.ts", ...FILES],
    outdir: ROOT,
    outbase: TESTS,
    bundle: true,
    splitting: true,
    format: "esm",
    target: "esnext",
    define: { "process.env": "globalThis.environment" },
    // What only Node gets to.
    external: ["webgpu"],
    logLevel: "error",
  });
  writeFileSync(join(ROOT, "page.html"), '<!doctype html><link rel="icon" href="data:,"><script type="module" src="browser/page.js"></script>');
  site = await Site.start(ROOT);
});

afterAll(() => site.stop());

/** What the page for a file has to say. */
async function outcomeOf(browser: Browser, file: string, subjects: string): Promise<Outcome> {
  const page = await browser.newPage();
  const query = new URLSearchParams({ file: file.replace(/\.ts$/, ".js"), subjects, ci: process.env["CI"] ?? "" });
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
    }
  });

  afterAll(() => browser?.close());

  describe.each(SUBJECTS[name])("%s", (subjects) => {
    const others = subjects === "webgpu" ? ONLY_CPU : ONLY_GPU;

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
