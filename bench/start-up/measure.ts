import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { quantile } from "../measure/timing.ts";

const run = promisify(execFile);
const script = fileURLToPath(new URL("first-result.ts", import.meta.url));

/** Time from import to the first result of one library: NaN after a failure, which says why. */
export type StartUp = Awaited<ReturnType<typeof measureStartUp>>[number];

/** Starts each library in `samples` fresh processes, in turns. */
export async function measureStartUp(names: readonly string[], samples: number) {
  const results = names.map((name) => ({ name, samplesMs: [] as number[], failure: undefined as string | undefined }));
  for (let i = 0; i < samples; i++) {
    for (const result of results.filter(({ failure }) => failure === undefined)) {
      try {
        const { stdout } = await run(process.execPath, ["--no-warnings", script, result.name]);
        result.samplesMs.push(Number(stdout.trim().split("\n").at(-1)));
      } catch (error) {
        result.failure = (error as Error).message;
      }
    }
  }
  return results.map((result) => ({ ...result, ms: quantile(result.samplesMs, 0.5), p90Ms: quantile(result.samplesMs, 0.9) }));
}
