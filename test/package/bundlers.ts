// The bundlers, as their users run them: no configuration beyond what names files.
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "esbuild";
import { runScript } from "./program.ts";
import { tool } from "./tools.ts";

export interface Bundler {
  readonly name: string;
  /** Whether it is a dev dependency of the project, and so always there. */
  readonly atHand: boolean;
  /** Bundles apps/`entry`.js for browsers into a folder that then has an index.html. */
  page(project: string, entry: string, outDir: string): Promise<void>;
  /** Bundles apps/`entry`.js for a server, minified or not as is usual there; returns the file to import. */
  server(project: string, entry: string, outDir: string): Promise<string>;
}

/** The program that only imports softmax: apps/softmax-only.js. */
export const SHAKEN = "softmax-only";
/** What a server fills with what it has rendered. */
export const RENDERED = "<!--rendered-->";

function html(script: string): string {
  return `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="rendered">${RENDERED}</div>${script}\n`;
}

function writePage(outDir: string, script: string): void {
  mkdirSync(outDir, { recursive: true });
  writeFileSync(join(outDir, "index.html"), html(script));
}

/** Scripts that a page starts as files of their own: `new URL("./page-worker.js", import.meta.url)` is not followed by every bundler. */
function entriesOf(project: string, entry: string): string[] {
  return (entry === "page" ? ["page", "page-worker"] : [entry]).map((name) => join(project, `apps/${name}.js`));
}

const esbuild: Bundler = {
  name: "esbuild",
  atHand: true,
  async page(project, entry, outDir) {
    // With splitting, esbuild keeps what any `import()` of the package needs, and keeps files as a whole.
    const splitting = entry !== SHAKEN;
    await build({ entryPoints: entriesOf(project, entry), outdir: outDir, bundle: true, splitting, format: "esm", minify: true, logLevel: "warning" });
    writePage(outDir, `<script type="module" src="./${entry}.js"></script>`);
  },
  async server(project, entry, outDir) {
    const outfile = join(outDir, "server.mjs");
    await build({ entryPoints: [join(project, `apps/${entry}.js`)], outfile, bundle: true, platform: "node", format: "esm", logLevel: "warning" });
    return outfile;
  },
};

const rollup: Bundler = {
  name: "Rollup",
  atHand: false,
  async page(project, entry, outDir) {
    const args = [...entriesOf(project, entry), "--dir", outDir, "--format", "es", "--plugin", "node-resolve", "--failAfterWarnings", "--silent"];
    await runScript(tool("rollup/dist/bin/rollup"), args, { cwd: project });
    writePage(outDir, `<script type="module" src="./${entry}.js"></script>`);
  },
  async server(project, entry, outDir) {
    const outfile = join(outDir, "server.mjs");
    const args = [
      join(project, `apps/${entry}.js`),
      "--dir",
      outDir,
      "--entryFileNames",
      "server.mjs",
      "--plugin",
      "node-resolve",
      "--failAfterWarnings",
      "--silent",
    ];
    await runScript(tool("rollup/dist/bin/rollup"), args, { cwd: project });
    return outfile;
  },
};

const webpack: Bundler = {
  name: "webpack",
  atHand: false,
  async page(project, entry, outDir) {
    const args = [
      "build",
      "--mode",
      "production",
      "--entry",
      `./apps/${entry}.js`,
      "--output-path",
      outDir,
      "--output-filename",
      "main.js",
      "--fail-on-warnings",
    ];
    await runScript(tool("webpack-cli/bin/cli.js"), args, { cwd: project });
    writePage(outDir, `<script defer src="./main.js"></script>`);
  },
  async server(project, entry, outDir) {
    const args = [
      "build",
      "--mode",
      "production",
      "--target",
      "node",
      "--entry",
      `./apps/${entry}.js`,
      "--output-path",
      outDir,
      "--output-filename",
      "server.cjs",
    ];
    await runScript(tool("webpack-cli/bin/cli.js"), [...args, "--output-library-type", "commonjs2", "--fail-on-warnings"], { cwd: project });
    return join(outDir, "server.cjs");
  },
};

const vite: Bundler = {
  name: "Vite",
  atHand: false,
  async page(project, entry, outDir) {
    const root = join(project, `vite-${entry}`);
    writePage(root, `<script type="module" src="${relative(root, join(project, `apps/${entry}.js`))}"></script>`);
    await runScript(tool("vite/bin/vite.js"), ["build", root, "--base", "./", "--outDir", outDir, "--emptyOutDir", "--logLevel", "warn"], { cwd: project });
  },
  async server(project, entry, outDir) {
    await runScript(tool("vite/bin/vite.js"), ["build", "--ssr", `apps/${entry}.js`, "--outDir", outDir, "--emptyOutDir", "--logLevel", "warn"], {
      cwd: project,
    });
    return join(outDir, "server.js");
  },
};

/** The files of the package as they are, loaded by the page one by one: what a CDN serves. */
const none: Bundler = {
  name: "no bundler",
  atHand: true,
  page(project, entry, outDir) {
    cpSync(join(project, "node_modules/onepass/dist"), join(outDir, "onepass"), { recursive: true });
    for (const file of readdirSync(join(project, "apps")).filter((name) => name.endsWith(".js"))) {
      const text = readFileSync(join(project, "apps", file), "utf8");
      writeFileSync(join(outDir, file), text.replaceAll('"onepass/testing"', '"./onepass/testing.js"').replaceAll('"onepass"', '"./onepass/index.js"'));
    }
    writePage(outDir, `<script type="module" src="./${entry}.js"></script>`);
    return Promise.resolve();
  },
  server(project, entry) {
    return Promise.resolve(join(project, `apps/${entry}.js`));
  },
};

export const BUNDLERS: readonly Bundler[] = [none, esbuild, rollup, webpack, vite];

/** All scripts of a bundle, one after another. */
export function scriptsOf(outDir: string): string {
  const files = readdirSync(outDir, { recursive: true, encoding: "utf8" }).filter((file) => /\.[cm]?js$/.test(file));
  return files.map((file) => readFileSync(join(outDir, file), "utf8")).join("\n");
}
