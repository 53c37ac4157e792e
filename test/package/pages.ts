// Bundles in browsers: under every policy, in the page and in a worker; and pages that a server has rendered.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser } from "./browsers.ts";
import { RENDERED } from "./bundlers.ts";
import { runScript } from "./program.ts";
import { type Environment, type Everything, assertEverything } from "./report.ts";
import { POLICIES, type Policy, type Site } from "./site.ts";

/** What apps/post.js adds to a report, or sends instead of one. */
interface Posted {
  readonly failed?: string;
  readonly isolated: boolean;
  readonly evalAllowed: boolean;
  readonly violations: readonly string[];
}

/** Opens a page and returns what it reports. */
export async function visit<T>(browser: Browser, site: Site, url: string): Promise<T & Posted> {
  const page = await browser.newPage();
  try {
    const report = (await site.report(() => page.open(url))) as T & Posted;
    if (report.failed !== undefined) throw new Error(report.failed);
    return report;
  } catch (error) {
    throw new Error([`${url}: ${error instanceof Error ? error.message : String(error)}`, ...page.lines].join("\n"), { cause: error });
  } finally {
    await page.close();
  }
}

/** What a page can do under a policy. */
function environment(policy: Policy, gpu: Environment["gpu"]): Environment {
  const isolated = policy.endsWith("isolated");
  // Workers share memory in isolated pages only; a strict policy forbids the inlined script, but not one of the page's own origin.
  return { relaxed: true, threads: isolated && !policy.startsWith("strict") ? 2 : 1, threadsByUrl: isolated ? 2 : 1, gpu };
}

/** Opens the bundle of apps/page.js under every policy, and once more to compute on the GPU. */
export async function checkPage(browser: Browser, site: Site, path: string, gpu: Environment["gpu"]): Promise<string> {
  for (const policy of Object.keys(POLICIES) as Policy[]) {
    const has = environment(policy, gpu);
    // Once is enough: the GPU of machines without one takes its time.
    const url = site.url(policy, path) + (policy === "strict" ? "?gpu" : "");
    const found = await visit<Everything & { readonly worker: Everything & { readonly failed?: string } }>(browser, site, url);
    // Else the page would not be what it is meant to be.
    assert.equal(found.isolated, policy.endsWith("isolated"), `${policy}: cross-origin isolation`);
    assert.equal(found.evalAllowed, !policy.startsWith("strict"), `${policy}: eval`);
    // The one try to start a worker from the inlined script.
    const violations = found.violations.filter((text) => !(policy === "strict-isolated" && /^(worker|script)-src\S* forbids blob/.test(text)));
    assert.deepEqual(violations, [], `${policy}: violations of the policy`);
    assertEverything(policy, found, has);
    assert.equal(found.worker.failed, undefined, `${policy}, worker`);
    assertEverything(`${policy}, worker`, found.worker, has);
  }
  return `in the page and in a worker; ${Object.keys(POLICIES).join(", ")}`;
}

/** Imports a bundle of apps/server.js where nothing of a browser may be touched, and returns what it renders. */
export async function checkServer(project: string, bundle: string): Promise<string> {
  const { atImport, atCall, text } = JSON.parse(await runScript(join(project, "apps/serve.mjs"), [bundle], { cwd: project })) as {
    atImport: readonly string[];
    atCall: boolean;
    text: string;
  };
  assert.deepEqual(atImport, [], "importing the bundle touched");
  assert.ok(atCall, "the traps do not work: rendering touched nothing");
  assertRendered(text);
  return text;
}

/** Throws unless this is what apps/server.js renders. */
export function assertRendered(text: string): void {
  assert.equal(text, "0.0321 0.0871 0.2369 0.6439 1.0000 0.0000 0.3302 0.6698");
}

/** Opens a page that holds what the server rendered, and lets the client render it again. */
export async function checkHydration(browser: Browser, site: Site, folder: string, path: string, rendered: string): Promise<void> {
  const index = join(folder, "index.html");
  const page = readFileSync(index, "utf8");
  assert.ok(page.includes(RENDERED) || page.includes(rendered), `no place for what the server rendered in ${path}`);
  writeFileSync(index, page.replace(RENDERED, rendered));
  const { server, client } = await visit<{ server: string; client: string }>(browser, site, site.url("open", path));
  assert.equal(server, rendered, "what arrived from the server");
  assert.equal(client, rendered, "what the client rendered");
}
