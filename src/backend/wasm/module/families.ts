import { ATTENTION } from "./attention-family.ts";
import type { Family } from "./family.ts";
import { LINEAR } from "./linear-family.ts";
import { ROWS } from "./rows-family.ts";
import type { Runtime } from "./runtime.ts";
import { SAMPLING } from "./sampling-family.ts";

/** The families that the package ships, in the order of scripts/families.ts (scripts/check-wasm.ts asserts it). */
export const FAMILIES: readonly Family<unknown>[] = [ROWS, ATTENTION, SAMPLING, LINEAR];

/**
 * Loads every family, as engines do: workers need all of them when they start, and whatever the platform forbids shows up when the
 * engine is created.
 */
export function loadAll<R extends Runtime>(runtime: R): R {
  for (const family of FAMILIES) runtime.load(family);
  return runtime;
}
