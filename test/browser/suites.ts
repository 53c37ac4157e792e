import { existsSync, globSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WATCHED, type Browser } from "../package/browsers.ts";
import { Site } from "../package/site.ts";
import { unavailable } from "../support/variants.ts";
import { MARK, type Outcome } from "./outcome.ts";

// The suites of parity/, properties/ and conformance/ in browsers: a page of its own for each file, cross-origin isolated, served over http.

const TESTS = fileURLToPath(new URL("..", import.meta.url));
/** Cases of other projects, which lie beside this one (conformance/). */
const CASES = resolve(TESTS, "..", process.env["ONEPASS_CONFORMANCE"] ?? "../shared/fixtures/conformance");
/** JSON, but the site knows scripts and pages only. */
const DATA = "cases.js";

/** Files with suites on subjects, relative to test/. */
export const FILES: readonly string[] = globSync(["parity/*.test.ts", "properties/*.test.ts", ...(existsSync(CASES) ? ["conformance/*.test.ts"] : [])], {
  cwd: TESTS,
}).sort();

/** The pages for all suites, in a folder of their own: tests in several processes make them at the same time. */
async function makePages(folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  await build({
    absWorkingDir: TESTS,
    entryPoints: [
      ...["browser/page.ts", ...FILES].map((file) => ({ in: file, out: file.replace(/\.ts$/, "") })),
      ...(existsSync(CASES) ? ["run", "lib/tensor"].map((name) => ({ in: join(CASES, `${name}.mjs`), out: `conformance/${name}` })) : []),
    ],
    outdir: folder,
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
  writeFileSync(join(folder, "page.html"), '<!doctype html><link rel="icon" href="data:,"><script type="module" src="browser/page.js"></script>');
  if (!existsSync(CASES)) return;
  const cases = readdirSync(join(CASES, "cases")).map((name) => [name, readFileSync(join(CASES, "cases", name)).toString("base64")]);
  writeFileSync(join(folder, DATA), JSON.stringify(Object.fromEntries(cases)));
}

/** A page that says nothing for this long, not even that the next test begins, will not say anything any more. */
const PATIENCE_MS = 330_000;

/** What the page for a file has to say, and what it runs on, where that is a GPU. */
async function outcomeOf(browser: Browser, site: Site, file: string, subjects: string): Promise<Outcome & { readonly about: string | undefined }> {
  const page = await browser.newPage();
  const query = new URLSearchParams({
    file: file.replace(/\.ts$/, ".js"),
    subjects,
    ci: process.env["CI"] ?? "",
    ...(file.startsWith("conformance/") && { data: DATA }),
  });
  await page.open(`${site.url("isolated", "page.html")}?${query}`);
  let until = Date.now() + PATIENCE_MS;
  let outcome: string | undefined;
  for (let seen = 0; outcome === undefined && Date.now() < until;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const said = page.lines.slice(seen);
    if (said.length > 0) until = Date.now() + PATIENCE_MS;
    seen += said.length;
    outcome = said.find((text) => text.startsWith(MARK));
  }
  const said = page.lines.slice(-5).join("\n");
  const about = page.lines.find((text) => text.startsWith(`${subjects}: `));
  await page.close();
  if (outcome === undefined) throw new Error(`nothing for ${PATIENCE_MS / 1000} s; the page said last:\n${said}`);
  return { ...(JSON.parse(outcome.slice(MARK.length)) as Outcome), about };
}

/** Suites in one browser: files by the subjects that they run on. */
export function describeBrowser(name: keyof typeof WATCHED, filesBySubjects: Readonly<Record<string, readonly string[]>>): void {
  describe(name, () => {
    let site: Site;
    let browser: Browser | undefined;
    let missing = "";
    const told = new Set<string>();

    beforeAll(async () => {
      try {
        browser = await WATCHED[name]();
      } catch (error) {
        missing = error instanceof Error ? error.message : String(error);
        console.info(`${name}: skipped, ${missing}`);
        return;
      }
      const folder = join(TESTS, "../build/browser", Object.keys(filesBySubjects).join("-").replaceAll(" ", "-"), name);
      await makePages(folder);
      site = await Site.start(folder);
    });

    afterAll(async () => {
      if (browser === undefined) return;
      await browser.close();
      await site.stop();
    });

    describe.each(Object.keys(filesBySubjects))("%s", (subjects) => {
      test.for(filesBySubjects[subjects] ?? [])("%s", async (file, { skip }) => {
        if (browser === undefined) {
          unavailable(skip, missing);
          return;
        }
        const { passed, skipped, failed, about } = await outcomeOf(browser, site, file, subjects);
        expect(failed).toEqual([]);
        // Where a page has no GPU, say, every suite skips itself. (In CI that has failed already.)
        if (skipped.length > 0) skip(skipped.join("; "));
        expect(passed).toBeGreaterThan(0);
        if (about !== undefined && !told.has(about)) console.info(`${name}, ${about}`);
        told.add(about ?? "");
      });
    });
  });
}
