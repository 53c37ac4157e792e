import { ENGINE_DECODE, ENGINE_HEADS, ENGINE_ROWS, type BySpeed, type Shape } from "../../test/cases/shapes.ts";
import type { EngineContext } from "../contenders/context.ts";
import { onEveryDevice } from "../contenders/gpu.ts";
import { byPeers } from "../contenders/peers.ts";
import { largestBuffer, type GpuLimits } from "../gpu/limits.ts";
import type { Contender, Suite } from "../measure/contender.ts";
import { amountOf, bytesOf, cacheBytesOf, type Call } from "../measure/problem.ts";

// The same calls on one thread, on all, and on the GPU, with transfers and without.

const HOW =
  "From arrays to an array of the caller on the CPU's threads and on the GPU (“per call”), and without transfers on the GPU: calls one after the other (“resident”), and recorded into one command buffer (“recorded”).";

const LIMIT_NAMES: Readonly<Record<keyof GpuLimits, string>> = { copy: "GPU copy", matrix: "GPU matrix multiply", fma: "GPU multiply-add" };

/** How an operation is shown. `limits` are the GPU's, the one that charts show first, in `perUnit` of the suite's unit. */
interface EngineSuite extends Pick<Suite, "id" | "title" | "about" | "unit"> {
  readonly shapes: BySpeed<Shape>;
  readonly limits: readonly (keyof GpuLimits)[];
  readonly perUnit?: number;
}

const SUITES: readonly EngineSuite[] = [
  {
    id: "engine-softmax",
    title: "Engine: softmax on the CPU and on the GPU",
    about: `f32. ${HOW} Peak: a copy of the same bytes by plain WGSL, out of cache; what fits in the GPU's cache may exceed it.`,
    unit: "Gelem/s",
    shapes: ENGINE_ROWS,
    limits: ["copy"],
    perUnit: 8,
  },
  {
    id: "engine-attention",
    title: "Engine: attention on the CPU and on the GPU",
    about: `f32, dense, heads × length × head dimension. ${HOW} Counted are 4 · head dimension operations per pair of query and key. Peak: an f32 matrix product in plain WGSL, measured in this run.`,
    unit: "GFLOP/s",
    shapes: ENGINE_HEADS,
    limits: ["matrix", "fma"],
  },
  {
    id: "engine-decode",
    title: "Engine: decoding on the CPU and on the GPU",
    about: `Llama 3 8B: f32, one query, 32 query heads share 8 heads of keys and values, head dimension 128. ${HOW} GB/s count the keys and values. Peak: the bandwidth of a copy by plain WGSL, out of cache.`,
    unit: "GB/s",
    shapes: ENGINE_DECODE,
    limits: ["copy"],
  },
];

/** Softmax, which is limited by memory, attention over whole sequences, by arithmetic, and decoding, by reading keys and values. */
export function engineSuites(context: EngineContext): readonly Suite[] {
  const { gpu } = context.engines;
  return SUITES.map(({ shapes, limits, perUnit = 1, ...suite }) => ({
    ...suite,
    compares: "rate",
    peak: "unavailable" in gpu ? undefined : LIMIT_NAMES[limits[0] ?? "copy"],
    cases: measured(shapes, context).map(({ name, what, call }) => ({
      ...{ name, what, call },
      ...(suite.unit === "GB/s" && call.op === "attention" && { amount: cacheBytesOf(call) }),
      // Plain WGSL limits what the GPU does, and nobody else.
      limits:
        "unavailable" in gpu ? [] : limits.map((limit) => ({ name: LIMIT_NAMES[limit], variant: "webgpu", rate: (gpu.limits[limit].value * 1e9) / perUnit })),
      contenders: () => contendersOf(context, call),
    })),
  }));
}

/** A call of one thread that takes longer than this is left out: some 40 GFLOP/s, and verification makes several. */
const LONGEST_SINGLE_FLOPS = 8e10;

function contendersOf({ engines, gpuPeers }: EngineContext, call: Call): readonly Contender[] {
  const { gpu } = engines;
  const isAttention = call.op === "attention";
  const skipSingle = isAttention && amountOf(call) > LONGEST_SINGLE_FLOPS ? "a call on one thread would take seconds" : undefined;
  const isTooLarge = !isAttention && !("unavailable" in gpu) && bytesOf(call) / 2 > largestBuffer(gpu.device);
  const skipGpu = isTooLarge ? `${bytesOf(call) / 2} bytes are more than the device binds at once` : undefined;
  const isSlow = isAttention && !("unavailable" in gpu) && gpu.emulated;
  const isShared = isAttention && call.heads !== call.kvHeads;
  const skipPeers = isShared ? "its operator wants as many heads of keys as of queries" : isSlow ? "its shader takes 20 s to compile on software" : undefined;
  return [...onEveryDevice(engines, skipSingle, skipGpu), ...byPeers(gpuPeers, call, skipPeers)];
}

/** The shapes that are measured here. A GPU of software takes a hundred times what a GPU takes: the smallest show that all is right. */
function measured<S>({ everywhere, onHardware, onGpu }: BySpeed<S>, { engines: { gpu }, quick }: EngineContext): readonly S[] {
  const isGpu = !("unavailable" in gpu) && !gpu.emulated;
  const isHardware = "unavailable" in gpu ? !quick : isGpu;
  return [...everywhere, ...(isHardware ? onHardware : []), ...(isGpu ? onGpu : [])];
}
