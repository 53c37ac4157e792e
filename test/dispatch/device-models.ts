import type { Prepare, ProbeTask } from "../../src/engine/calibrate.ts";
import type { Device } from "../../src/engine/dispatch.ts";
import { random } from "../support/numbers.ts";
import { type GridCall, grid } from "./grid.ts";
import type { TimedCall } from "./replay.ts";

// Machines to dispatch on, where there is no device: how long a call takes on each side, by effects that the cost model of
// dispatch.ts does not know: tiles and waves of workgroups, caches, bandwidth that grows with size, fresh pages, chunks of whole
// rows, launches per kernel. The figures are those of bench and of the literature, to a digit: what matters is that calls differ
// in as many ways as they do on a real machine, not that a model is some product.

/** A call, and where its operands are and its result stays. Nothing of it is computed by the code under test. */
export type ModelCall = GridCall & { readonly place: "host" | "gpu" };
type RowsCall = Extract<GridCall, { rows: number }>;
type HeadsCall = Extract<GridCall, { heads: number }>;

export interface CpuModel {
  readonly cores: number;
  /** All rates relative to the server core of PERFORMANCE.md. */
  readonly speed: number;
  readonly callSeconds: number;
  readonly cacheBytes: number;
  /** Of all cores together. */
  readonly memoryBytesPerSecond: number;
}

export interface GpuModel {
  readonly submitSeconds: number;
  readonly waitSeconds: number;
  /** Of each kernel on the device. */
  readonly launchSeconds: number;
  readonly uploadBytesPerSecond: number;
  readonly downloadBytesPerSecond: number;
  /** A kernel that moves so much runs at half its rate. */
  readonly halfRateBytes: number;
  readonly memoryBytesPerSecond: number;
  /** Data that stays on the chip between calls, at three times the rate. */
  readonly cacheBytes: number;
  /** Workgroups at a time. */
  readonly slots: number;
  /** Of all slots. */
  readonly flopsPerSecond: number;
  readonly exponentialsPerSecond: number;
  readonly tileRows: number;
}

export interface Machine {
  readonly name: string;
  readonly cpu: CpuModel;
  readonly gpu: GpuModel;
  /** What the clock shows is a multiple of this. */
  readonly clockSeconds: number;
}

const ceilTo = (n: number, step: number): number => Math.ceil(n / step) * step;
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** A page of fresh memory is 4 KiB and costs 1 µs to touch; small arrays come from pages that were touched before. */
const freshSeconds = (bytes: number): number => (bytes > 2 ** 17 ? (bytes / 4096) * 1e-6 : 0);

/** Keys from the first to the last that rows [from, to) of a head see. */
function keysOf(call: HeadsCall, from: number, to: number): number {
  const offset = call.keys - call.queries;
  const high = call.causal ? Math.min(call.keys, offset + to) : call.keys;
  const low = call.windowLeft === undefined ? 0 : Math.max(0, offset + from - call.windowLeft);
  return Math.max(0, high - low);
}

/** Items run by `workers` that each take the next when they are free: the sum, or the longest. */
const makespan = (items: readonly number[], workers: number): number => Math.max(sum(items) / workers, ...items);

export function cpuSeconds(cpu: CpuModel, call: GridCall): number {
  const serial = call.op === "attention" ? attentionOnCpu(cpu, call, 1) : rowsOnCpu(cpu, call, 1);
  // Threads are not woken for what ends before they are awake.
  if (cpu.cores === 1 || serial < 60e-6) return cpu.callSeconds + serial;
  return cpu.callSeconds + 12e-6 + (call.op === "attention" ? attentionOnCpu(cpu, call, cpu.cores) : rowsOnCpu(cpu, call, cpu.cores));
}

function rowsOnCpu(cpu: CpuModel, call: RowsCall, cores: number): number {
  const { op, rows, cols } = call;
  const bytesIn = rows * cols * 4;
  const bytesOut = op === "logSumExp" ? rows * 4 : bytesIn;
  const inCache = bytesIn + bytesOut <= cpu.cacheBytes;
  const perElement = (op === "logSumExp" ? 0.5e-9 : 0.66e-9) * (inCache ? 1 : 1.2);
  const perRow = op === "softmax" ? 12e-9 : op === "logSoftmax" ? 35e-9 : 120e-9;
  // Whole rows per thread, in lanes of four.
  const share = Math.ceil(rows / cores);
  const compute = (share * (ceilTo(cols, 4) * perElement + perRow)) / cpu.speed;
  // Arrays of the caller are copied by the calling thread.
  const copies = (bytesIn + bytesOut) / ((inCache ? 20e9 : 9e9) * cpu.speed);
  return Math.max(compute, (2 * (bytesIn + bytesOut)) / cpu.memoryBytesPerSecond) + copies + freshSeconds(bytesOut);
}

function attentionOnCpu(cpu: CpuModel, call: HeadsCall, cores: number): number {
  const { heads, kvHeads, queries, dim } = call;
  const group = heads / kvHeads;
  const items: number[] = [];
  const perPair = (4 * ceilTo(dim, 4)) / (42e9 * cpu.speed) + 1.2e-9 / cpu.speed;
  const decode = queries * group <= 64;
  const kvBytes = kvHeads * keysOf(call, 0, queries) * dim * 8;
  if (decode) {
    const rows = queries * group <= 4 ? 4 : ceilTo(queries * group, 8);
    const seen = keysOf(call, 0, queries);
    const bytesPerSecond = (kvBytes <= cpu.cacheBytes ? 24e9 : 14e9) * cpu.speed;
    for (let h = 0; h < kvHeads; h++) {
      for (let from = 0; from < seen; from += 1024) {
        const count = ceilTo(Math.min(1024, seen - from), 64);
        items.push(Math.max(rows * count * perPair, (count * dim * 8) / bytesPerSecond));
      }
    }
  } else {
    for (let from = 0; from < queries; from += 64) {
      // Blocks of 64 queries go in groups of eight, each with keys of its own: causal 128 × 128 takes 57% of dense.
      let pairs = 0;
      for (let row = from; row < Math.min(from + 64, queries); row += 8) pairs += 8 * ceilTo(keysOf(call, row, Math.min(row + 8, queries)), 16);
      const seconds = pairs * perPair + 0.5e-6;
      for (let h = 0; h < heads; h++) items.push(seconds);
    }
  }
  const bytes = kvBytes + 2 * heads * queries * dim * 4;
  const copies = bytes / ((bytes <= cpu.cacheBytes ? 20e9 : 9e9) * cpu.speed);
  return Math.max(items.length === 0 ? 0 : makespan(items, cores), kvBytes / cpu.memoryBytesPerSecond) + copies + freshSeconds(heads * queries * dim * 4);
}

/** A transfer of this size runs at half its rate. */
const TRANSFER_HALF_BYTES = 2 ** 15;

const transferSeconds = (bytes: number, bytesPerSecond: number, half: number): number => (bytes === 0 ? 0 : (bytes + half) / bytesPerSecond);

/** Seconds until the result is where it is wanted, or computed where it stays. */
export function gpuSeconds(gpu: GpuModel, call: ModelCall): number {
  const [bytesIn, bytesOut] = transfersOf(call);
  const compute = call.op === "attention" ? attentionOnGpu(gpu, call) : rowsOnGpu(gpu, call);
  const roundTrip = gpu.submitSeconds + gpu.waitSeconds + compute;
  if (call.place === "gpu") return roundTrip;
  return roundTrip + uploadSeconds(gpu, bytesIn) + downloadSeconds(gpu, bytesOut);
}

const uploadSeconds = (gpu: GpuModel, bytes: number): number => transferSeconds(bytes, gpu.uploadBytesPerSecond, TRANSFER_HALF_BYTES);
const downloadSeconds = (gpu: GpuModel, bytes: number): number => transferSeconds(bytes, gpu.downloadBytesPerSecond, TRANSFER_HALF_BYTES) + freshSeconds(bytes);

function transfersOf(call: GridCall): readonly [number, number] {
  if (call.op === "attention") {
    const { heads, kvHeads, queries, keys, dim } = call;
    return [(heads * queries + 2 * kvHeads * keys) * dim * 4, heads * queries * dim * 4];
  }
  return [call.rows * call.cols * 4, call.op === "logSumExp" ? call.rows * 4 : call.rows * call.cols * 4];
}

function memorySeconds(gpu: GpuModel, bytes: number): number {
  const rate = gpu.memoryBytesPerSecond * (bytes <= gpu.cacheBytes ? 3 : 1);
  return (bytes + gpu.halfRateBytes) / rate;
}

function rowsOnGpu(gpu: GpuModel, { op, rows, cols }: RowsCall): number {
  // Rows that do not fit a workgroup's registers are read twice; few long ones are split, and merged by a second kernel.
  const reads = op === "logSumExp" || cols <= 4096 ? 1 : 2;
  const split = cols > 16384 && rows < gpu.slots;
  const bytes = rows * cols * 4 * (reads + (op === "logSumExp" ? 0 : 1));
  // A short row leaves lanes of its workgroup idle.
  const lanes = 2 ** Math.ceil(Math.log2(Math.max(cols, 8)));
  const groups = split ? Math.ceil((rows * cols) / 4096) : Math.ceil(rows / Math.max(1, Math.floor(1024 / lanes)));
  const perGroup = ((split ? 4096 : Math.max(lanes, 1024)) * gpu.slots) / gpu.exponentialsPerSecond;
  const waves = groups < gpu.slots * 8 ? Math.ceil(groups / gpu.slots) : groups / gpu.slots;
  return (split ? 2 : 1) * gpu.launchSeconds + Math.max(memorySeconds(gpu, bytes), waves * perGroup);
}

function attentionOnGpu(gpu: GpuModel, call: HeadsCall): number {
  const { heads, kvHeads, queries, dim, keys } = call;
  const group = heads / kvHeads;
  // Wide heads leave fewer registers.
  const slotFlops = gpu.flopsPerSecond / gpu.slots / (dim > 128 ? 1.6 : 1);
  const perPair = (4 * ceilTo(dim, 16)) / slotFlops + gpu.slots / gpu.exponentialsPerSecond / 4;
  const bytes = kvHeads * keys * dim * 8;
  const items: number[] = [];
  if (queries * group <= 64) {
    const seen = keysOf(call, 0, queries);
    for (let h = 0; h < kvHeads; h++) {
      for (let from = 0; from < seen; from += 128) {
        for (let row = 0; row < queries * group; row += 16) items.push(16 * ceilTo(Math.min(128, seen - from), 64) * perPair);
      }
    }
    return 2 * gpu.launchSeconds + Math.max(memorySeconds(gpu, kvHeads * seen * dim * 8), waves(gpu, items));
  }
  for (let from = 0; from < queries; from += gpu.tileRows) {
    const seconds = gpu.tileRows * ceilTo(keysOf(call, from, Math.min(from + gpu.tileRows, queries)), 32) * perPair;
    for (let h = 0; h < heads; h++) items.push(seconds);
  }
  return gpu.launchSeconds + Math.max(memorySeconds(gpu, bytes), waves(gpu, items));
}

/** Equal items run in waves of all slots; unequal ones fill them. */
function waves(gpu: GpuModel, items: readonly number[]): number {
  if (items.length === 0) return 0;
  const longest = Math.max(...items);
  const equal = items.every((item) => item === longest);
  return equal ? Math.ceil(items.length / gpu.slots) * longest : makespan(items, gpu.slots);
}

export interface ModelRig {
  readonly prepare: Prepare;
  /** What the machine's clock shows, in seconds. */
  readonly now: () => number;
  /** Seconds since the start, and how many of them went to compiling. */
  readonly elapsed: () => number;
  readonly compiling: () => number;
}

/** A machine that runs probes: its clock moves by what the model says, and by noise. */
export function modelRig(machine: Machine, seed: number): ModelRig {
  const next = random(seed);
  let clock = 0;
  let compiled = 0;
  // Around the model's time, and now and then a wait for something else.
  const noisy = (seconds: number, spread: number, hiccup: number): number =>
    seconds * Math.exp(spread * (next() + next() + next() - 1.5) * 2) * (next() < 0.04 ? 1 + hiccup * next() : 1);
  return {
    prepare: (device, task) => {
      let first = true;
      return {
        run: async (calls) => {
          // Shaders are compiled, Wasm runs unoptimized.
          const compiling = !first ? 0 : device === "webgpu" ? 20e-3 : 1e-3;
          clock += compiling;
          compiled += compiling;
          first = false;
          const seconds = taskSeconds(machine, device, task);
          if (device === "wasm") for (let i = 0; i < calls; i++) clock += noisy(seconds, 0.06, 3);
          else {
            const { submitSeconds, waitSeconds } = machine.gpu;
            const stays = "place" in task && task.place === "gpu";
            for (let i = 0; i < calls; i++) {
              clock += noisy(submitSeconds, 0.2, 4) + noisy(seconds - submitSeconds - waitSeconds, 0.08, 1);
              if (!stays || i === calls - 1) clock += noisy(waitSeconds, 0.25, 4);
            }
          }
          await Promise.resolve();
        },
        dispose: () => undefined,
      };
    },
    now: () => Math.floor(clock / machine.clockSeconds) * machine.clockSeconds,
    elapsed: () => clock,
    compiling: () => compiled,
  };
}

function taskSeconds({ cpu, gpu }: Machine, device: Device, task: ProbeTask): number {
  if ("bytes" in task) return gpu.submitSeconds + gpu.waitSeconds + (task.kind === "upload" ? uploadSeconds : downloadSeconds)(gpu, task.bytes);
  const { op, place, shapes } = task;
  const { x: [rows = 0, cols = 0] = [], q: [heads = 0, queries = 0, dim = 0] = [], k: [kvHeads = 0, keys = 0] = [] } = shapes;
  const call: ModelCall = op === "attention" ? { op, causal: false, heads, kvHeads, queries, keys, dim, place } : { op, rows, cols, place };
  return device === "wasm" ? cpuSeconds(cpu, call) : gpuSeconds(gpu, call);
}

const server = (cores: number): CpuModel => ({
  cores,
  speed: 1,
  callSeconds: 3e-6,
  cacheBytes: 2 ** 21 * (cores === 1 ? 1 : 8),
  memoryBytesPerSecond: cores === 1 ? 20e9 : 90e9,
});
const laptop = (cores: number): CpuModel => ({ cores, speed: 0.9, callSeconds: 3e-6, cacheBytes: 2 ** 22, memoryBytesPerSecond: cores === 1 ? 18e9 : 45e9 });
const phone = (cores: number): CpuModel => ({ cores, speed: 0.4, callSeconds: 10e-6, cacheBytes: 2 ** 20, memoryBytesPerSecond: cores === 1 ? 9e9 : 22e9 });

const DISCRETE: GpuModel = {
  submitSeconds: 15e-6,
  waitSeconds: 35e-6,
  launchSeconds: 4e-6,
  uploadBytesPerSecond: 5e9,
  downloadBytesPerSecond: 4e9,
  halfRateBytes: 4e6,
  memoryBytesPerSecond: 2e12,
  cacheBytes: 2 ** 25,
  slots: 264,
  flopsPerSecond: 15e12,
  exponentialsPerSecond: 2e12,
  tileRows: 64,
};

const INTEGRATED: GpuModel = {
  submitSeconds: 20e-6,
  waitSeconds: 80e-6,
  launchSeconds: 8e-6,
  uploadBytesPerSecond: 9e9,
  downloadBytesPerSecond: 7e9,
  halfRateBytes: 1e6,
  memoryBytesPerSecond: 60e9,
  cacheBytes: 2 ** 21,
  slots: 24,
  flopsPerSecond: 1.2e12,
  exponentialsPerSecond: 1e11,
  tileRows: 32,
};

const HANDHELD: GpuModel = {
  submitSeconds: 60e-6,
  waitSeconds: 600e-6,
  launchSeconds: 30e-6,
  uploadBytesPerSecond: 3e9,
  downloadBytesPerSecond: 2.5e9,
  halfRateBytes: 5e5,
  memoryBytesPerSecond: 25e9,
  cacheBytes: 2 ** 20,
  slots: 8,
  flopsPerSecond: 150e9,
  exponentialsPerSecond: 2e10,
  tileRows: 32,
};

const SOFTWARE: GpuModel = {
  submitSeconds: 40e-6,
  waitSeconds: 120e-6,
  launchSeconds: 10e-6,
  uploadBytesPerSecond: 6e9,
  downloadBytesPerSecond: 6e9,
  halfRateBytes: 1e5,
  memoryBytesPerSecond: 10e9,
  cacheBytes: 0,
  slots: 2,
  flopsPerSecond: 2e9,
  exponentialsPerSecond: 32e6,
  tileRows: 64,
};

/** Each kind of GPU, beside one core and beside eight. Clocks are those of Node, of an isolated page and of any other page. */
export const MACHINES: readonly Machine[] = [
  { name: "discrete GPU, 1 core", cpu: server(1), gpu: DISCRETE, clockSeconds: 1e-9 },
  { name: "discrete GPU, 8 cores", cpu: server(8), gpu: DISCRETE, clockSeconds: 5e-6 },
  { name: "integrated GPU, 1 core", cpu: laptop(1), gpu: INTEGRATED, clockSeconds: 100e-6 },
  { name: "integrated GPU, 8 cores", cpu: laptop(8), gpu: INTEGRATED, clockSeconds: 5e-6 },
  { name: "phone, 1 core", cpu: phone(1), gpu: HANDHELD, clockSeconds: 100e-6 },
  { name: "phone, 8 cores", cpu: phone(8), gpu: HANDHELD, clockSeconds: 5e-6 },
  { name: "software driver, 1 core", cpu: server(1), gpu: SOFTWARE, clockSeconds: 1e-9 },
  { name: "software driver, 8 cores", cpu: server(8), gpu: { ...SOFTWARE, slots: 8, flopsPerSecond: 8e9, exponentialsPerSecond: 128e6 }, clockSeconds: 1e-9 },
];

/** The grid as such a machine would time it, without noise. */
export function timed({ cpu, gpu }: Machine): readonly TimedCall[] {
  return grid().map((call) => ({ call, wasmSeconds: cpuSeconds(cpu, call), webgpuSeconds: gpuSeconds(gpu, { ...call, place: "host" }) }));
}

/** A machine between and around those above: every figure of one of them, up to three times more or less. */
export function anyMachine(seed: number): Machine {
  const next = random(seed);
  const base = MACHINES[Math.floor(next() * MACHINES.length)] ?? MACHINES[0];
  if (base === undefined) throw new RangeError("no machine");
  const vary = <T extends object>(figures: T, kept: readonly (keyof T)[]): T =>
    Object.fromEntries(Object.entries(figures).map(([key, value]) => [key, kept.includes(key as keyof T) ? value : value * 3 ** (2 * next() - 1)])) as T;
  const gpu = vary(base.gpu, ["slots", "tileRows"]);
  return { ...base, name: `machine ${seed}, like ${base.name}`, cpu: vary(base.cpu, ["cores"]), gpu };
}
