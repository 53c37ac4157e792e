// A Next.js site: rendered while it is built, hydrated in the browser.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser } from "./browsers.ts";
import { visit } from "./pages.ts";
import { run } from "./program.ts";
import { type Everything, assertEverything } from "./report.ts";
import type { Site } from "./site.ts";
import { tool } from "./tools.ts";

/** Next.js looks for itself and for React upwards from the site, so the site lies beside test/package/node_modules. Ignored by git. */
const WORKPLACE = fileURLToPath(new URL("build/next/", import.meta.url));
/** Where the site is among those that are served: apps/next/next.config.mjs says the same. */
const PATH = "next.js/site";

/** Builds the site and returns what the server rendered. */
export async function buildSite(project: string, sites: string): Promise<string> {
  rmSync(WORKPLACE, { recursive: true, force: true });
  const app = join(WORKPLACE, "app");
  mkdirSync(app, { recursive: true });
  for (const folder of [join(project, "apps"), join(project, "apps/next")]) {
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".js"))) cpSync(join(folder, file), join(app, file));
  }
  cpSync(join(project, "apps/next/next.config.mjs"), join(WORKPLACE, "next.config.mjs"));
  cpSync(join(project, "package.json"), join(WORKPLACE, "package.json"));
  cpSync(join(project, "node_modules/onepass"), join(WORKPLACE, "node_modules/onepass"), { recursive: true });
  await run(process.execPath, [tool("next/dist/bin/next"), "build"], { cwd: WORKPLACE, env: { ...process.env, NEXT_TELEMETRY_DISABLED: "1" } });
  const out = join(sites, PATH);
  cpSync(join(WORKPLACE, "out"), out, { recursive: true });
  rmSync(WORKPLACE, { recursive: true });
  const [, rendered] = /<p id="rendered">([^<]*)</.exec(readFileSync(join(out, "index.html"), "utf8")) ?? [];
  return rendered ?? assert.fail("nothing was rendered");
}

/** Opens the site: the client has to agree with the server, and every way to compute has to work there. */
export async function checkSite(browser: Browser, site: Site, rendered: string): Promise<void> {
  const found = await visit<Everything & { readonly server: string; readonly client: string }>(browser, site, site.url("open", `${PATH}/index.html`));
  assert.equal(found.server, rendered, "what arrived from the server");
  assert.equal(found.client, rendered, "what the client rendered");
  assertEverything("client", found, { relaxed: true, threads: 1, threadsByUrl: 1, gpu: "possible" });
}
