import type { Calibration } from "../../src/engine/calibration.ts";
import { estimateCpu, estimateGpu } from "../../src/engine/dispatch.ts";
import { type GridCall, workOf } from "./grid.ts";

/** Calls that differ in one size, n. */
export interface Family {
  /** With n where the size stands: "softmax n × n". */
  readonly name: string;
  /** The largest n that is looked at. */
  readonly largest: number;
  callOf(n: number): GridCall;
}

const heads = (n: number, causal: boolean): GridCall => ({ op: "attention", heads: 8, kvHeads: 8, queries: n, keys: n, dim: 64, causal });

/** Families whose operands and results are arrays of the caller: those that have a choice. */
export const FAMILIES: readonly Family[] = [
  { name: "softmax n × n", largest: 16384, callOf: (n) => ({ op: "softmax", rows: n, cols: n }) },
  { name: "logSumExp n × n", largest: 16384, callOf: (n) => ({ op: "logSumExp", rows: n, cols: n }) },
  { name: "attention 8 × n × 64", largest: 32768, callOf: (n) => heads(n, false) },
  { name: "attention 8 × n × 64, causal", largest: 32768, callOf: (n) => heads(n, true) },
  {
    name: "decode 32/8 heads × 128, n keys",
    largest: 131072,
    callOf: (n) => ({ op: "attention", heads: 32, kvHeads: 8, queries: 1, keys: n, dim: 128, causal: false }),
  },
];

/** Where a family moves to the GPU. */
export interface Crossover {
  readonly family: string;
  /** The smallest size from which the GPU is estimated to be faster; undefined when there is none up to `largest`. */
  readonly size: number | undefined;
  readonly largest: number;
}

/** Finds where dispatch moves a family of calls from the CPU to the GPU. */
export function crossover(family: Family, calibration: Calibration): Crossover {
  const onGpu = (n: number): boolean => {
    const work = workOf(family.callOf(n));
    return estimateGpu(work, calibration).seconds < estimateCpu(work, calibration).seconds;
  };
  const found = (size: number | undefined): Crossover => ({ family: family.name, size, largest: family.largest });
  if (onGpu(1)) return found(1);
  for (let below = 1; below < family.largest; below *= 2) {
    let above = Math.min(below * 2, family.largest);
    if (!onGpu(above)) continue;
    let low = below;
    while (above - low > 1) {
      const middle = Math.floor((low + above) / 2);
      if (onGpu(middle)) above = middle;
      else low = middle;
    }
    return found(above);
  }
  return found(undefined);
}
