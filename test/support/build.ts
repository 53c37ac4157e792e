import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Builds the binaries and the worker's script where they are missing; that they are current is the caller's concern (`npm test` builds first). */
export function setup(): void {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  if (["binaries", "worker-source"].every((name) => existsSync(`${root}src/backend/wasm/generated/${name}.ts`))) return;
  execFileSync(process.execPath, ["scripts/build.ts", "--wasm"], { cwd: root, stdio: "inherit" });
}
