import type { Variant } from "../../src/testing/testing.ts";
import type { Limit, Runner } from "../contender.ts";
import { timeTasks, type TimingPlan } from "../timing.ts";
import { buildLoops, type Loops } from "./build.ts";

/** One figure of the machine. */
export interface MachineFigure {
  readonly name: string;
  readonly about: string;
  /** In `unit`. */
  readonly value: number;
  readonly unit: "GFLOP/s" | "Gelem/s" | "GB/s";
}

/** What this machine can do, and loops to find out more. */
export interface Machine {
  readonly figures: readonly MachineFigure[];
  /** The exponential alone, which every softmax has to compute once per element. */
  readonly expLimit: readonly Limit[];
  /** A copy of `x` inside WebAssembly memory. */
  copyRunner(x: Float32Array): Runner;
  /** A sum over `bytes`, a multiple of 64, of ones in WebAssembly memory. */
  readRunner(bytes: number): Runner;
  /** `count` times `MULTIPLY_ADD_FLOPS` operations in registers, in either binary. */
  multiplyAddRunner(variant: Variant, count: number): Runner;
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
export async function measureMachine(variants: readonly Variant[], plan: TimingPlan): Promise<Machine> {
  const built = await Promise.all(variants.map(async (variant) => ({ variant, loops: await buildLoops(variant) })));
  const first = built[0];
  if (first === undefined) throw new Error("no variant of the kernels runs here");
  const base = reserve(first.loops, OUT_OF_CACHE);
  const half = OUT_OF_CACHE / 2;
  // Touched once, so that every page exists.
  new Float32Array(first.loops.memory.buffer, base, OUT_OF_CACHE / 4).fill(1);

  const loops: (Omit<MachineFigure, "value"> & { amount: number; run: () => unknown })[] = built.flatMap(({ variant, loops: on }) => {
    const from = reserve(on, 2 * IN_CACHE);
    new Float32Array(on.memory.buffer, from, IN_CACHE / 4).fill(-1.5);
    const how = variant === "relaxed" ? "fused (relaxed SIMD)" : "multiply, then add (baseline SIMD)";
    return [
      {
        name: `multiply-add, ${variant}`,
        about: `f32x4, twelve independent sums, ${how}`,
        unit: "GFLOP/s",
        amount: MULTIPLY_ADDS * MULTIPLY_ADD_FLOPS,
        run: () => on.multiplyAdd(MULTIPLY_ADDS),
      },
      {
        name: `exp alone, ${variant}`,
        about: "the exponential of the softmax kernels, in cache",
        unit: "Gelem/s",
        amount: IN_CACHE / 4,
        run: () => on.exp(from, from + IN_CACHE, IN_CACHE),
      },
    ];
  });
  const { loops: on } = first;
  loops.push(
    {
      name: "copy, in cache",
      about: "v128, 16 KiB to 16 KiB, bytes read + written",
      unit: "GB/s",
      amount: 2 * IN_CACHE,
      run: () => on.copy(base, base + IN_CACHE, IN_CACHE),
    },
    {
      name: "copy, out of cache",
      about: "v128, 64 MiB to 64 MiB, bytes read + written",
      unit: "GB/s",
      amount: OUT_OF_CACHE,
      run: () => on.copy(base, base + half, half),
    },
    { name: "read, out of cache", about: "v128 sum over 128 MiB", unit: "GB/s", amount: OUT_OF_CACHE, run: () => on.read(base, OUT_OF_CACHE) },
  );

  const timings = await timeTasks(
    loops.map(({ run }) => ({ run, batch: 1 })),
    plan,
  );
  const figures = loops
    .map(({ name, about, unit, amount }, i) => ({ name, about, unit, value: amount / (timings[i]?.ms ?? NaN) / 1e6 }))
    .sort((a, b) => a.name.localeCompare(b.name));
  const exps = figures.filter((figure) => figure.name.startsWith("exp"));
  return {
    figures,
    expLimit: [{ name: "exp alone", rate: Math.max(...exps.map((figure) => figure.value)) * 1e9 }],
    copyRunner(x) {
      const from = reserve(on, 2 * x.byteLength + 64);
      const to = Math.ceil((from + x.byteLength) / 64) * 64;
      const at = (address: number): Float32Array => new Float32Array(on.memory.buffer, address, x.length);
      at(from).set(x);
      return { run: () => on.copy(from, to, x.byteLength), read: () => at(to), clear: () => at(to).fill(NaN) };
    },
    readRunner(bytes) {
      const from = reserve(on, bytes);
      new Float32Array(on.memory.buffer, from, bytes / 4).fill(1);
      const sum = new Float32Array(1);
      return { run: () => (sum[0] = on.read(from, bytes)), read: () => sum, clear: () => sum.fill(NaN) };
    },
    multiplyAddRunner(variant, count) {
      const { loops: chosen } = built.find((each) => each.variant === variant) ?? first;
      const sum = new Float32Array(1);
      return { run: () => (sum[0] = chosen.multiplyAdd(count)), read: () => sum, clear: () => sum.fill(NaN) };
    },
  };
}

/** Makes sure that `bytes` of buffer space exist; gives their address, the same every time. */
function reserve(loops: Loops, bytes: number): number {
  const { memory } = loops;
  const start = loops.buffers();
  const missing = start + bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / (64 * KIB)));
  return start;
}
