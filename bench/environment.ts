import { availableParallelism, cpus, loadavg, totalmem } from "node:os";
import type { Variant } from "../src/testing/testing.ts";

/** Where and when the figures were taken. */
export interface Environment {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly platform: string;
  readonly node: string;
  readonly v8: string;
  /** The binaries of onepass that run here, the fastest first. */
  readonly variants: readonly Variant[];
  readonly quick: boolean;
}

export function describeEnvironment(variants: readonly Variant[], quick: boolean): Environment {
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
  };
}

/** How many processes wanted to run, on average over the last minute. */
export function load(): number {
  return loadavg()[0] ?? 0;
}
