import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Variant } from "../../src/testing/testing.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The exports of loops.ts. */
export interface Loops {
  readonly memory: WebAssembly.Memory;
  buffers(): number;
  copy(from: number, to: number, bytes: number): void;
  read(from: number, bytes: number): number;
  exp(from: number, to: number, bytes: number): void;
  multiplyAdd(count: number): number;
}

/** Compiles loops.ts into the git-ignored build folder, and loads it. */
export async function buildLoops(variant: Variant): Promise<Loops> {
  const asc = `${root}node_modules/assemblyscript/bin/asc.js`;
  await promisify(execFile)(process.execPath, [asc, "--config", "bench/machine/asconfig.json", "--target", variant], { cwd: root });
  const { instance } = await WebAssembly.instantiate(await readFile(`${root}build/bench-${variant}.wasm`));
  return instance.exports as unknown as Loops;
}
