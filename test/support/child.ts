import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Runs a module in its own Node process. `ONEPASS` in the code stands for the URL of src/index.ts. Returns what it printed. */
export async function runModule(code: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const entry = new URL("../../src/index.ts", import.meta.url).href;
  const { ONEPASS_WASM: _, NODE_OPTIONS: __, ...rest } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", code.replaceAll("ONEPASS", JSON.stringify(entry))], {
    env: { ...rest, ...env },
  });
  return stdout.trim();
}
