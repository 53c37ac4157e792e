// The engines and bundlers of package.json beside this file.
import { existsSync, rmSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./program.ts";

const folder = fileURLToPath(new URL(".", import.meta.url));

/** Installs what the lock file says, about 1.2 GB, unless it is there. No install scripts run: executables come in packages of their own. */
export async function installTools(): Promise<void> {
  const installed = join(folder, "node_modules");
  // npm writes this file last; the lock file is younger when it has been changed since.
  const done = join(installed, ".package-lock.json");
  if (existsSync(done) && statSync(done).mtimeMs > statSync(join(folder, "package-lock.json")).mtimeMs) return;
  rmSync(installed, { recursive: true, force: true });
  const args = ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  await run("npm", args, { cwd: folder, timeout: 600_000 });
}

/** A file of an installed tool. */
export function tool(path: string): string {
  return join(folder, "node_modules", path);
}

/** Which package holds an executable for this machine: `-linux-x64`, say, behind a prefix. */
const MACHINE = `${process.platform}-${process.arch}`;

/** Where an engine's executable is once the tools are installed. */
export const ENGINES = {
  bun: () => tool(`@oven/bun-${process.platform}-${process.arch === "arm64" ? "aarch64" : process.arch}/bin/bun`),
  deno: () => tool(`@deno/${MACHINE}${process.platform === "linux" ? "-glibc" : ""}/deno`),
  node: (major: number) => tool(`node${major}-${MACHINE}/bin/node`),
} as const;

/** The Node of the system: the first on PATH that is not a dependency's. */
export function systemNode(): string | undefined {
  const directories = (process.env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "" && !directory.includes("node_modules"));
  return directories.map((directory) => join(directory, "node")).find((path) => existsSync(path));
}
