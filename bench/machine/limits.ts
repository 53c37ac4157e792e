import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Variant } from "../../src/testing/testing.ts";
import type { Runner } from "../measure/contender.ts";
import { timeTasks, type TimingPlan } from "../measure/timing.ts";

/** One figure of the machine. */
export interface MachineFigure {
  readonly name: string;
  readonly about: string;
  readonly unit: "GFLOP/s" | "Gelem/s" | "GB/s";
  /** The median. */
  readonly value: number;
  /** What nine samples in ten reach. */
  readonly p90?: number;
}

/** What this machine can do, and loops to find out more. */
export type Machine = Awaited<ReturnType<typeof measureMachine>>;

/** The exports of loops.ts. */
interface Loops {
  readonly memory: WebAssembly.Memory;
  buffers(): number;
  copy(from: number, to: number, bytes: number): void;
  read(from: number, bytes: number): number;
  exp(from: number, to: number, bytes: number): void;
  multiplyAdd(count: number): number;
}

const KIB = 1024;
/** Input and output together fit in a first-level cache of 32 KiB. */
const IN_CACHE = 16 * KIB;
/** Larger than the caches of most machines; server parts with more of third level report that instead. */
const OUT_OF_CACHE = 128 * KIB * KIB;
const MULTIPLY_ADDS = 20_000;
/** Floating-point operations of one turn of the multiply-add loop: twelve sums of four lanes, two operations each. */
export const MULTIPLY_ADD_FLOPS = 96;

/** Compiles the loops and measures them. */
export async function measureMachine(variants: readonly Variant[], plan: TimingPlan) {
  const built = await Promise.all(variants.map(async (variant) => ({ variant, loops: await buildLoops(variant) })));
  const [first] = built;
  if (first === undefined) throw new Error("no variant of the kernels runs here");
  const { loops: on } = first;
  const base = reserve(on, OUT_OF_CACHE);
  const half = OUT_OF_CACHE / 2;
  // Touched once, so that every page exists.
  new Float32Array(on.memory.buffer, base, OUT_OF_CACHE / 4).fill(1);

  type Row = readonly [name: string, about: string, unit: MachineFigure["unit"], amount: number, run: () => unknown];
  const perVariant = ({ variant, loops }: (typeof built)[number]): readonly Row[] => {
    const from = reserve(loops, 2 * IN_CACHE);
    new Float32Array(loops.memory.buffer, from, IN_CACHE / 4).fill(-1.5);
    const how = `f32x4, twelve independent sums, ${variant === "relaxed" ? "fused (relaxed SIMD)" : "multiply, then add (baseline SIMD)"}`;
    return [
      [`exp alone, ${variant}`, "the exponential of the softmax kernels, in cache", "Gelem/s", IN_CACHE / 4, () => loops.exp(from, from + IN_CACHE, IN_CACHE)],
      [`multiply-add, ${variant}`, how, "GFLOP/s", MULTIPLY_ADDS * MULTIPLY_ADD_FLOPS, () => loops.multiplyAdd(MULTIPLY_ADDS)],
    ];
  };
  const rows: readonly Row[] = [
    ["copy, in cache", "v128, 16 KiB to 16 KiB, bytes read + written", "GB/s", 2 * IN_CACHE, () => on.copy(base, base + IN_CACHE, IN_CACHE)],
    ["copy, out of cache", "v128, 64 MiB to 64 MiB, bytes read + written", "GB/s", OUT_OF_CACHE, () => on.copy(base, base + half, half)],
    ...built.flatMap(perVariant),
    ["read, out of cache", "v128 sum over 128 MiB", "GB/s", OUT_OF_CACHE, () => on.read(base, OUT_OF_CACHE)],
  ];
  const timings = await timeTasks(
    rows.map(([, , , , run]) => ({ run, batch: 1 })),
    plan,
  );
  const figures = rows.map(([name, about, unit, amount], i): MachineFigure => {
    const { ms = NaN, p90Ms = NaN } = timings[i] ?? {};
    return { name, about, unit, value: amount / ms / 1e6, p90: amount / p90Ms / 1e6 };
  });
  const exps = figures.filter(({ name }) => name.startsWith("exp")).map(({ value }) => value);
  /** A loop with a single number as its result. */
  const reduction = (loop: () => number): Runner => {
    const result = new Float32Array(1);
    return { run: () => (result[0] = loop()), read: () => result, clear: () => result.fill(NaN) };
  };
  return {
    figures,
    /** The exponential alone, which every softmax has to compute once per element. */
    expLimit: [{ name: "exp alone", rate: Math.max(...exps) * 1e9 }],
    /** A copy of `x` inside WebAssembly memory. */
    copyRunner(x: Float32Array): Runner {
      const from = reserve(on, 2 * x.byteLength + 64);
      const to = Math.ceil((from + x.byteLength) / 64) * 64;
      const at = (address: number): Float32Array => new Float32Array(on.memory.buffer, address, x.length);
      at(from).set(x);
      return { run: () => on.copy(from, to, x.byteLength), read: () => at(to), clear: () => at(to).fill(NaN) };
    },
    /** A sum over `bytes`, a multiple of 64, of ones in WebAssembly memory. */
    readRunner(bytes: number): Runner {
      const from = reserve(on, bytes);
      new Float32Array(on.memory.buffer, from, bytes / 4).fill(1);
      return reduction(() => on.read(from, bytes));
    },
    /** `count` times `MULTIPLY_ADD_FLOPS` operations in registers, in either binary. */
    multiplyAddRunner(variant: Variant, count: number): Runner {
      const { loops } = built.find((each) => each.variant === variant) ?? first;
      return reduction(() => loops.multiplyAdd(count));
    },
  };
}

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Compiles loops.ts into the git-ignored build folder, and loads it. */
async function buildLoops(variant: Variant): Promise<Loops> {
  const asc = `${root}node_modules/assemblyscript/bin/asc.js`;
  await promisify(execFile)(process.execPath, [asc, "--config", "bench/machine/asconfig.json", "--target", variant], { cwd: root });
  const { instance } = await WebAssembly.instantiate(await readFile(`${root}build/bench-${variant}.wasm`));
  return instance.exports as unknown as Loops;
}

/** Makes sure that `bytes` of buffer space exist; gives their address, the same every time. */
function reserve(loops: Loops, bytes: number): number {
  const { memory } = loops;
  const start = loops.buffers();
  const missing = start + bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / (64 * KIB)));
  return start;
}
