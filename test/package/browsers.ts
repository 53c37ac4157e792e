// The browsers of the system, without a window and with a fresh profile each.
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import { launch } from "puppeteer-core";

export interface Page {
  /** What the page has written to its console so far. */
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

/** How each browser starts; it throws where there is none. */
export const BROWSERS = { Chromium: startChromium, Firefox: startFirefox } as const;
