import type { Variant } from "../../src/testing/testing.ts";
import type { Call, Problem } from "./problem.ts";
import type { TimingPlan } from "./timing.ts";

/** One implementation, set up on one problem: what is outside the timing has been done. */
export interface Runner {
  /** One call. Gives a promise only where the implementation does. */
  readonly run: () => unknown;
  /** Milliseconds of one call by a better clock than that around `run`: the GPU's own, or one around many calls that are awaited together. */
  time?(): Promise<number>;
  /** What the last call produced. */
  read(): Float32Array | Promise<Float32Array>;
  /** Overwrites the output, so that a result left there before cannot pass verification. Absent where each call makes its own. */
  clear?(): void;
  dispose?(): void;
}

/** What of onepass runs: one of its binaries, or its WGSL. */
export type Kernels = Variant | "webgpu";

/** Whose an implementation is; a `limit` is a loop that no kernel can beat, such as a plain copy of the same bytes. */
export type Group = "onepass" | "javascript" | "peer" | "limit";

/** An implementation that takes part in a case. */
export interface Contender {
  readonly name: string;
  readonly group: Group;
  /** Which kernels of onepass run; of a limit: which ones it is the limit of. */
  readonly variant?: Kernels | undefined;
  /** The one that ratios are taken of. One per case. */
  readonly lead?: boolean;
  /** Work of one call where it is not the case's. */
  readonly amount?: number;
  /** Why it takes no part in this case, for people. */
  readonly skipped?: string | undefined;
  /** Where the numbers live and similar, in a few words. */
  readonly note?: string | undefined;
  /** Whether its formula overflows on hot input, and has to. */
  readonly overflows?: boolean;
  /** What it solves, where that is not the case's problem: the same operands with other options. */
  adapt?(problem: Problem): Problem;
  /** The right result where it is not the problem's: that of a copy is the input. Compared as a whole. */
  expected?(problem: Problem): ArrayLike<number>;
  /** Largest error that passes. */
  tolerance(problem: Problem): number;
  prepare(problem: Problem): Runner | Promise<Runner>;
}

/** One shape of one operation. */
export interface BenchCase {
  readonly name: string;
  /** Where the shape comes from. */
  readonly what: string;
  readonly call: Call;
  /** Work of one call in the suite's unit, where that is not the call's own: bytes of a decoding step. */
  readonly amount?: number;
  /** Calls per timed sample, for calls too short to time alone. Default 1. */
  readonly batch?: number;
  /** Rates that the machine allows at most, from loops measured apart. A contender of group `limit` adds its own. */
  readonly limits?: readonly Limit[];
  contenders(): readonly Contender[];
  /** Memory that a call of onepass takes, measured apart from the timing. */
  memory?(): WorkingMemory;
}

/** Bytes that one call works in, beyond its inputs and its output. */
export interface WorkingMemory {
  /** With tensors in module memory. */
  readonly scratchBytes: number;
  /** With arrays of the caller, parts of which are copied in. */
  readonly plainBytes: number;
  /** The matrix of scores, which attention in three steps stores. */
  readonly matrixBytes: number;
}

/** A rate that cannot be exceeded, in units of the suite's amount per second. */
export interface Limit {
  readonly name: string;
  /** Which kernels of onepass it is the limit of; of all, and of everyone else, when absent. */
  readonly variant?: Kernels | undefined;
  readonly rate: number;
}

/** Cases of one operation, shown together. */
export interface Suite {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  /** What 10⁹ of the work's amount per second is called. */
  readonly unit: "Gelem/s" | "GFLOP/s" | "GB/s";
  /** Whether a reader compares rates, times per call, times with that of the lead, or rates with that of the lead. */
  readonly compares: "rate" | "time" | "cost" | "speed-up";
  /** How its cases are timed where that is not as all others are. */
  readonly plan?: TimingPlan;
  /** The limit that all cases are shown against; the lowest of each case when absent. */
  readonly peak?: string | undefined;
  readonly cases: readonly BenchCase[];
}
