import type { DispatchReport } from "../engine/dispatch-report.ts";
import type { Environment } from "../environment.ts";
import type { Group, Kernels, Limit, Suite, WorkingMemory } from "../contender.ts";
import type { MachineFigure } from "../machine/limits.ts";
import type { PeerStatus } from "../peers/all.ts";
import type { StartUp } from "../start-up/measure.ts";
import type { Timing } from "../timing.ts";

// What one run of the benchmark found: the content of report.json, and all that the other reports are made of.

/** One contender on one case, verified and timed. */
export interface Measurement {
  readonly name: string;
  readonly group: Group;
  readonly variant?: Kernels | undefined;
  readonly note?: string | undefined;
  /** Ratios are taken of this one. */
  readonly lead: boolean;
  /** Whether its formula overflows on large values, as verified. */
  readonly overflows: boolean;
  readonly timing: Timing;
  /** Largest error against float64, relative. */
  readonly maxError: number;
  /** Amount of work per second. */
  readonly rate: number;
  readonly bytesPerSecond: number;
}

/** A contender that gave a wrong result, and was not timed. */
export interface Failure {
  readonly contender: string;
  readonly variant?: Kernels | undefined;
  readonly message: string;
}

/** A contender that did not take part, and why. */
export interface Skip {
  readonly contender: string;
  readonly variant?: Kernels | undefined;
  readonly reason: string;
}

export interface CaseResult {
  readonly name: string;
  readonly what: string;
  readonly label?: string | undefined;
  readonly work: { readonly amount: number; readonly bytes: number };
  readonly limits: readonly Limit[];
  readonly measurements: readonly Measurement[];
  readonly failures: readonly Failure[];
  readonly skipped: readonly Skip[];
  readonly memory?: WorkingMemory | undefined;
}

export interface SuiteResult {
  readonly id: string;
  readonly title: string;
  readonly about: string;
  readonly unit: string;
  readonly compares: Suite["compares"];
  readonly peak?: string | undefined;
  readonly cases: readonly CaseResult[];
}

/** What the engines ran on. */
export interface EngineReport {
  readonly threads: number;
  /** Why there are not more threads. */
  readonly reasons: readonly string[];
  readonly gpu:
    | {
        readonly name: string;
        readonly driver: string;
        readonly emulated: boolean;
        /** How its times were taken. */
        readonly clock: string;
        /** What it lacks. */
        readonly off: readonly string[];
      }
    | { readonly unavailable: string };
}

export interface BenchReport {
  readonly environment: Environment;
  readonly machine: readonly MachineFigure[];
  readonly peers: readonly PeerStatus[];
  readonly engine: EngineReport;
  readonly suites: readonly SuiteResult[];
  /** Absent where there is no GPU to dispatch to. */
  readonly dispatch?: DispatchReport | undefined;
  readonly startUp: readonly StartUp[];
  readonly seconds: number;
  /** Load average when the run began. */
  readonly loadBefore: number;
}
