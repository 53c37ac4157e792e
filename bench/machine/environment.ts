import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import type { Variant } from "../../src/testing/testing.ts";

/** Where and when the figures were taken. */
export type Environment = ReturnType<typeof describeEnvironment>;

/** @param variants - the binaries of onepass that run here, the fastest first */
export function describeEnvironment(variants: readonly Variant[], quick: boolean) {
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model.trim() ?? "unknown processor",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    v8: process.versions.v8,
    variants,
    quick,
    /** How many processes wanted to run when the run began, on average over the minute before. */
    load: loadavg()[0] ?? 0,
  };
}
