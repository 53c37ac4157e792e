import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { jaxJs } from "./jax-js.ts";
import { onnxruntimeNode, onnxruntimeWeb, onnxruntimeWebgpu } from "./onnxruntime.ts";
import type { Peer } from "./peer.ts";
import { tfjsWasm } from "./tfjs-wasm.ts";

/** WebAssembly first, then native code. */
export const PEERS: readonly Peer[] = [onnxruntimeWeb, tfjsWasm, jaxJs, onnxruntimeNode];

/** Libraries that compute on the GPU, for the suites of the engine. */
export const GPU_PEERS: readonly Peer[] = onnxruntimeWebgpu;

const folder = fileURLToPath(new URL(".", import.meta.url));

/** Installs the libraries of this folder's lock file, unless they are there. No install scripts run. */
export function installPeers(): void {
  if (existsSync(`${folder}node_modules/.package-lock.json`)) return;
  console.log("Installing the libraries to compare with into bench/peers (once, about 500 MB) …");
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  // Under `npm run` this is npm's own script, which spares the differences between systems.
  const npm = process.env["npm_execpath"];
  if (npm?.endsWith(".js") === true) execFileSync(process.execPath, [npm, ...args], { cwd: folder, stdio: "inherit" });
  else execFileSync("npm", args, { cwd: folder, stdio: "inherit", shell: process.platform === "win32" });
}
