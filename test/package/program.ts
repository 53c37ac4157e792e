import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The repository. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A program that has not ended by itself after this long hangs: a worker that keeps its process alive, for one. */
const TIMEOUT_MS = 120_000;

/** Runs a program to its end and returns what it prints; an error carries all of its output. */
export async function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; timeout?: number } = {},
): Promise<string> {
  const timeout = options.timeout ?? TIMEOUT_MS;
  try {
    const { stdout } = await promisify(execFile)(program, args, { cwd: ROOT, maxBuffer: 1 << 27, ...options, timeout });
    return stdout;
  } catch (error) {
    const { stdout, stderr, message, killed } = error as Error & { stdout?: string; stderr?: string; killed?: boolean };
    const reason = killed === true ? `did not end within ${timeout / 1000} s` : message.split("\n")[0];
    throw new Error([reason, stdout, stderr].filter(Boolean).join("\n"), { cause: error });
  }
}

/** Runs a script with the Node that runs this. */
export function runScript(path: string, args: readonly string[], options: { cwd?: string } = {}): Promise<string> {
  return run(process.execPath, [path, ...args], options);
}
