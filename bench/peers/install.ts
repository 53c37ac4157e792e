import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));

/** Installs the libraries of this folder's lock file, unless they are there. No install scripts run. */
export function installPeers(say: (line: string) => void): void {
  if (existsSync(`${folder}node_modules/.package-lock.json`)) return;
  say("Installing the libraries to compare with into bench/peers (once, about 500 MB) …");
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  // Under `npm run` this is npm's own script, which spares the differences between systems.
  const npm = process.env["npm_execpath"];
  if (npm?.endsWith(".js") === true) execFileSync(process.execPath, [npm, ...args], { cwd: folder, stdio: "inherit" });
  else execFileSync("npm", args, { cwd: folder, stdio: "inherit", shell: process.platform === "win32" });
}
