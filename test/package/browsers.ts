// The browsers of the system, without a window and with a fresh profile each.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import { launch } from "puppeteer-core";
import { run } from "./program.ts";

export interface Page {
  /** What the page has written to its console so far, where that can be read. */
  readonly lines: readonly string[];
  open(url: string): Promise<unknown>;
  close(): Promise<void>;
}

export interface Browser {
  readonly version: string;
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

const CHROMIUM = ["chromium", "chromium-browser", "google-chrome"];
const FIREFOX = ["firefox-esr", "firefox"];

// No look-ups of the browser's own, which a machine without a network answers slowly; containers have little /dev/shm.
const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
  "--enable-unsafe-webgpu",
];
const FIREFOX_PREFERENCES = { "dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true };

function find(names: readonly string[]): string {
  const directories = (process.env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "");
  const path = names.flatMap((name) => directories.map((directory) => join(directory, name))).find(existsSync);
  if (path === undefined) throw new Error(`none of ${names.join(", ")} is on PATH`);
  return path;
}

async function startChromium(): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: find(CHROMIUM), args: CHROMIUM_FLAGS });
  return {
    version: `Chromium ${browser.version()}`,
    async newPage() {
      const page = await browser.newPage();
      const lines: string[] = [];
      page.on("console", (message) => lines.push(message.text()));
      page.on("pageerror", (error) => lines.push(error.message));
      return { lines, open: (url) => page.goto(url), close: () => page.close() };
    },
    close: () => browser.close(),
  };
}

async function startFirefox(): Promise<Browser> {
  const browser = await launch({ browser: "firefox", executablePath: find(FIREFOX), headless: true, extraPrefsFirefox: FIREFOX_PREFERENCES });
  return {
    version: (await browser.version()).replace(/^firefox\//i, "Firefox "),
    async newPage() {
      const page = await browser.newPage();
      const lines: string[] = [];
      page.on("console", (message) => lines.push(message.text()));
      page.on("pageerror", (error) => lines.push(String(error)));
      return { lines, open: (url) => page.goto(url), close: () => page.close() };
    },
    close: () => browser.close(),
  };
}

/**
 * Firefox with a process for each page, and nobody to watch it: while a WebDriver session is open, about one of a hundred `new Worker` in a
 * worker never returns (Firefox 153, in a bare loop); without one, none of thousands did.
 */
async function startUnwatchedFirefox(): Promise<Browser> {
  const path = find(FIREFOX);
  const preferences = {
    ...FIREFOX_PREFERENCES,
    "app.update.enabled": false,
    "browser.aboutwelcome.enabled": false,
    "browser.shell.checkDefaultBrowser": false,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": false,
  };
  const lines = Object.entries(preferences).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`);
  return {
    version: (await run(path, ["--version"])).trim().replace(/^Mozilla /, ""),
    newPage() {
      let child: ChildProcess | undefined;
      const profile = mkdtempSync(join(tmpdir(), "onepass-firefox-"));
      writeFileSync(join(profile, "user.js"), lines.join("\n"));
      const page: Page = {
        lines: [],
        open: async (url) => {
          child = spawn(path, ["--headless", "--no-remote", "--profile", profile, url], { stdio: "ignore" });
          await once(child, "spawn");
        },
        close: async () => {
          if (child?.exitCode === null && child.kill()) await once(child, "exit");
          rmSync(profile, { recursive: true, force: true });
        },
      };
      return Promise.resolve(page);
    },
    close: () => Promise.resolve(),
  };
}

/** How each browser starts whose pages' consoles are read; it throws where there is none. */
export const WATCHED = { Chromium: startChromium, Firefox: startFirefox } as const;

/** The same for pages that report by themselves. */
export const REPORTING = { Chromium: startChromium, Firefox: startUnwatchedFirefox } as const;
