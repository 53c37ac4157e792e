import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { median } from "../statistics.ts";

const run = promisify(execFile);
const script = fileURLToPath(new URL("first-result.ts", import.meta.url));

/** Time from import to the first result of one library, each time in a fresh process. */
export interface StartUp {
  readonly name: string;
  /** The median; NaN after a failure. */
  readonly ms: number;
  readonly samplesMs: readonly number[];
  /** Why there is no figure; empty when all is well. */
  readonly failure: string;
}

/** Starts each library in `samples` processes, in turns. */
export async function measureStartUp(names: readonly string[], samples: number): Promise<readonly StartUp[]> {
  const results = names.map((name) => ({ name, samplesMs: [] as number[], failure: "" }));
  for (let i = 0; i < samples; i++) {
    for (const result of results.filter(({ failure }) => failure === "")) {
      try {
        const { stdout } = await run(process.execPath, ["--no-warnings", script, result.name]);
        result.samplesMs.push(Number(stdout.trim().split("\n").at(-1)));
      } catch (error) {
        result.failure = (error as Error).message;
      }
    }
  }
  return results.map((result) => ({ ...result, ms: result.failure === "" ? median(result.samplesMs) : NaN }));
}
