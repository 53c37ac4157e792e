import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { TARGETS } from "../../scripts/assemble.ts";
import { FAMILIES } from "../../scripts/families.ts";

/** Builds missing binaries and worker scripts. The caller must see to it that they are current (`npm test` builds first). */
export function setup(): void {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const generated = ["worker-source", ...FAMILIES.map(({ name }) => name)].map((name) => `src/backend/wasm/generated/${name}.ts`);
  if ([...generated, ...TARGETS.map(({ name }) => `build/${name}.wasm`)].every((path) => existsSync(root + path))) return;
  execFileSync(process.execPath, ["scripts/build.ts", "--wasm"], { cwd: root, stdio: "inherit" });
}
