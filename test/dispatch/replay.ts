import { readFileSync, readdirSync } from "node:fs";
import { type Calibration, parseCalibration } from "../../src/engine/calibration.ts";
import { type Device, decide } from "../../src/engine/dispatch.ts";
import { type GridCall, workOf } from "./grid.ts";

// A table of calls timed on both sides of a machine is replayed through dispatch: would it have chosen the faster side?
//
// Recorded tables are bench/results/dispatch-<machine>.json, each the JSON of a `DispatchTable`: the calibration of that machine as
// `calibrate` gave it (before the calls were timed, not fitted to them), and for every call the median seconds of engines with
// device "wasm" and "webgpu", from the caller's arrays to the result in an array. Calls as in grid.ts.

/** Times of calls on one machine. */
export interface DispatchTable {
  /** Processor, threads, GPU and driver, for people. */
  readonly machine: string;
  readonly calibration: Calibration;
  readonly calls: readonly TimedCall[];
}

export interface TimedCall {
  readonly call: GridCall;
  readonly wasmSeconds: number;
  readonly webgpuSeconds: number;
}

/** A call that a replay counts, and what dispatch chose. */
export interface Judged extends TimedCall {
  readonly faster: Device;
  readonly chosen: Device;
  readonly reason: () => string;
}

/** Sides closer than this are a matter of noise: neither is wrong. */
export const CLEAR_RATIO = 1.5;

/** The calls whose sides clearly differ, as dispatch decides them. */
export function replay({ calibration, calls }: DispatchTable): readonly Judged[] {
  const judged: Judged[] = [];
  for (const timed of calls) {
    const { wasmSeconds, webgpuSeconds } = timed;
    if (Math.max(wasmSeconds / webgpuSeconds, webgpuSeconds / wasmSeconds) <= CLEAR_RATIO) continue;
    const decision = decide(workOf(timed.call), { device: "auto", gpu: { usable: true, maxBufferBytes: Infinity, maxSpanBytes: Infinity }, calibration });
    judged.push({ ...timed, faster: wasmSeconds < webgpuSeconds ? "wasm" : "webgpu", chosen: decision.device, reason: () => decision.reason });
  }
  return judged;
}

/** The part of judged calls that went to the faster side, from 0 to 1. */
export function rightPart(judged: readonly Judged[]): number {
  return judged.filter(({ chosen, faster }) => chosen === faster).length / judged.length;
}

/** What went wrong, a line each. */
export function mistakes(judged: readonly Judged[]): readonly string[] {
  return judged
    .filter(({ chosen, faster }) => chosen !== faster)
    .map(
      ({ call, wasmSeconds, webgpuSeconds, reason }) =>
        `${JSON.stringify(call)}: ${(wasmSeconds * 1e6).toFixed(0)} µs on the CPU, ${(webgpuSeconds * 1e6).toFixed(0)} µs on the GPU; ${reason()}`,
    );
}

const RESULTS = new URL("../../bench/results/", import.meta.url);

/** The tables recorded on real devices. */
export function recordedTables(): readonly { readonly file: string; readonly table: DispatchTable }[] {
  return readdirSync(RESULTS)
    .filter((file) => /^dispatch-.*\.json$/.test(file))
    .map((file) => ({ file, table: parseTable(file, JSON.parse(readFileSync(new URL(file, RESULTS), "utf8"))) }));
}

/** Checks what was read from a file, so that a table of another shape is an error and not a row of NaN. */
export function parseTable(file: string, value: unknown): DispatchTable {
  const { machine, calibration, calls } = value as Partial<Record<keyof DispatchTable, unknown>>;
  if (typeof machine !== "string" || !Array.isArray(calls) || calls.length === 0) throw new TypeError(`${file} expected { machine, calibration, calls }`);
  for (const [i, timed] of (calls as readonly Partial<TimedCall>[]).entries()) {
    const seconds = [timed.wasmSeconds, timed.webgpuSeconds];
    const amount = bytesIn(timed.call);
    if (!seconds.every((s) => typeof s === "number" && s > 0 && s < Infinity) || !(amount > 0))
      throw new TypeError(`${file} expected { call, wasmSeconds, webgpuSeconds } as calls[${i}], got ${JSON.stringify(timed)}`);
  }
  return { machine, calibration: parseCalibration(calibration), calls: calls as readonly TimedCall[] };
}

/** Bytes that a call sends to a GPU; NaN if it is no call. */
function bytesIn(call: GridCall | undefined): number {
  try {
    return call === undefined ? NaN : workOf(call).bytesIn;
  } catch {
    return NaN;
  }
}
