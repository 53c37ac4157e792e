import type { Variant } from "../src/testing/testing.ts";
import type { TimingPlan } from "./timing.ts";

/** One implementation, set up on one input: what is outside the timing has been done. */
export interface Runner {
  /** One call. Gives a promise only where the implementation does. */
  run(): unknown;
  /**
   * Milliseconds of one call by a better clock than that around `run`: the GPU's own, or one around many calls that are waited for
   * together. Timing uses it where it is there.
   */
  time?(): Promise<number>;
  /** What the last call produced. */
  read(): Float32Array | Promise<Float32Array>;
  /** Overwrites the output, so that a result left there before cannot pass verification. Absent where each call makes its own. */
  clear?(): void;
  dispose?(): void;
}

/** What of onepass runs: one of its binaries, or its WGSL. */
export type Kernels = Variant | "webgpu";

/** Who an implementation belongs to; `limit` is a loop that no softmax can beat, such as a plain copy of the same bytes. */
export type Group = "onepass" | "javascript" | "peer" | "limit";

/** An implementation that takes part in a case. */
export interface Contender<Input> {
  readonly name: string;
  readonly group: Group;
  /** Which kernels of onepass run; of a limit: which ones it is the limit of. */
  readonly variant?: Kernels;
  /** The one that ratios are taken of. One per case. */
  readonly lead?: boolean;
  /** Work of one call where it is not the case's. */
  readonly amount?: number;
  /** Why it takes no part in this case, for people. */
  readonly skipped?: string | undefined;
  /** Where the numbers live and similar, in a few words. */
  readonly note?: string;
  /** What it must do on the case's hot input: give the right result, or overflow because its formula does. Default "right". */
  readonly whenHot?: "right" | "overflow";
  /** Largest error that passes verification, on a given input; see verify.ts. */
  tolerance(input: Input): number;
  /** The right result where it is not the case's: that of a copy is the input. */
  expected?(input: Input): Float64Array;
  prepare(input: Input): Runner | Promise<Runner>;
}

/** One shape of one operation. */
export interface BenchCase<Input = unknown> {
  readonly name: string;
  /** Where the shape comes from. */
  readonly what: string;
  /** What a chart of all cases calls it, in lines; its name by default. */
  readonly label?: string;
  /** Work of one call: in the suite's unit (elements, floating-point operations), and the bytes that must be read and written. */
  readonly work: { readonly amount: number; readonly bytes: number };
  /** Calls per timed sample, for calls too short to time alone. Default 1. */
  readonly batch?: number;
  /** Rates that the machine allows at most, from loops measured apart. A contender of group `limit` adds its own. */
  readonly limits: readonly Limit[];
  /** What is timed. */
  input(): Input;
  /** Verified only: values for which exp overflows unless the max is subtracted. */
  hotInput?(input: Input): Input;
  /** The right result, in float64. */
  reference(input: Input): Float64Array;
  /** The part of a result that `reference` has, for results too large to be checked as a whole. */
  sample?(got: Float32Array, input: Input): Float32Array;
  /** Errors are relative to the reference's value, or to this where the value is smaller. */
  readonly errorFloor: number;
  contenders(): readonly Contender<Input>[];
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
export interface Suite<Input = unknown> {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  /** What 10⁹ of the work's amount per second is called: "Gelem/s", "GFLOP/s". */
  readonly unit: string;
  /** Whether a reader compares rates, times per call, times with that of the lead, or rates with that of the lead. */
  readonly compares: "rate" | "time" | "cost" | "speed-up";
  /** How its cases are timed where that is not as all others are. */
  readonly plan?: TimingPlan;
  /** The limit that a chart of all cases shows as a line, if it is one for all. */
  readonly peak?: string;
  readonly cases: readonly BenchCase<Input>[];
}
