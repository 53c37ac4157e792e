import type { EngineContext } from "../context.ts";
import type { BenchCase, Contender, Limit, Suite } from "../contender.ts";
import { engineContenders, type EngineCall } from "../engine/contenders.ts";
import type { Engines } from "../engine/engines.ts";
import { largestBuffer } from "../gpu/limits.ts";
import type { AttentionInput, HeadShape } from "../heads.ts";
import { hotRows, repeatedRows, type Rows } from "../inputs.ts";
import { checkedSoftmaxRows, sampledSoftmaxReference } from "../references.ts";
import { gpuAttentionTolerance, gpuTolerance, ownAttentionTolerance, ownTolerance, peerAttentionTolerance, peerTolerance } from "../verify.ts";
import { attentionCase, bytesOf, flopsOf } from "./attention.ts";

// The same calls on one thread, on all, and on the GPU, with transfers and without.

const GPU_COPY = "GPU copy";
const GPU_MATRIX = "GPU matrix multiply";
const GPU_FMA = "GPU multiply-add";

/** On software, a call takes a hundred times what it takes on a GPU: the first few shapes, made small, show that all is right. */
type Where = "everywhere" | "not on software" | "on GPUs only";

const ROWS: readonly (readonly [rows: number, cols: number, what: string, where: Where])[] = [
  [1024, 1024, "square", "everywhere"],
  [4096, 64, "many short rows", "everywhere"],
  [64, 32768, "long rows", "not on software"],
  [8192, 8192, "256 MiB in, 256 MiB out", "on GPUs only"],
];

const dense = (heads: number, length: number, dim: number): HeadShape => ({ heads, kvHeads: heads, queries: length, keys: length, dim });
const llama = (keys: number): HeadShape => ({ heads: 32, kvHeads: 8, queries: 1, keys, dim: 128 });

const PREFILL: readonly (readonly [shape: HeadShape, where: Where])[] = [
  [dense(4, 256, 64), "everywhere"],
  [dense(8, 2048, 64), "not on software"],
  [dense(16, 4096, 128), "on GPUs only"],
];

const DECODE: readonly (readonly [keys: number, where: Where])[] = [
  [1024, "everywhere"],
  [4096, "not on software"],
  [32768, "not on software"],
];

const HOW =
  "From arrays to an array of the caller on the CPU's threads and on the GPU (“per call”), and without transfers on the GPU: calls one after the other (“resident”), and recorded into one command buffer (“recorded”).";

/** Softmax of every kind of shape: limited by memory. */
export function softmaxOnEngines({ engines, peers, quick }: EngineContext): Suite<Rows> {
  const { gpu } = engines;
  return {
    id: "engine-softmax",
    title: "Engine: softmax on the CPU and on the GPU",
    about: `f32. ${HOW} Peak: a copy of the same bytes by plain WGSL, out of cache; what fits in the GPU's cache may exceed it.`,
    unit: "Gelem/s",
    compares: "rate",
    ...peakOf(engines, GPU_COPY),
    cases: ROWS.filter(([, , , where]) => isMeasured(where, engines, quick)).map(([rows, cols, what]): BenchCase<Rows> => {
      const bytes = 4 * rows * cols;
      const tooLarge = "unavailable" in gpu || bytes <= largestBuffer(gpu.device) ? undefined : `${bytes} bytes are more than the device binds at once`;
      const contenders = engineContenders(engines, softmaxCall, { tolerance: ownTolerance, gpuTolerance });
      return {
        name: `${rows}×${cols}`,
        what,
        work: { amount: rows * cols, bytes: 2 * bytes },
        limits: "unavailable" in gpu ? [] : [onGpuOnly(GPU_COPY, gpu.limits.copyBytesPerSecond / 8)],
        input: () => repeatedRows(rows, cols),
        // Verified only; what is to be seen is seen in a few rows.
        hotInput: ({ x }) => hotRows({ x: x.subarray(0, Math.min(rows, HOT_ROWS) * cols), rows: Math.min(rows, HOT_ROWS), cols }),
        reference: sampledSoftmaxReference,
        sample: sampleSoftmax,
        errorFloor: 1e-30,
        contenders: () => [
          ...contenders.map((contender) => (contender.variant === "webgpu" && tooLarge !== undefined ? { ...contender, skipped: tooLarge } : contender)),
          ...peers.map(({ name, note, softmax }): Contender<Rows> => ({
            ...{ name, note, group: "peer" },
            tolerance: ({ cols: n }) => peerTolerance(n) + gpuTolerance(),
            prepare: ({ x, rows: m, cols: n }) => softmax(x, m, n),
          })),
        ],
      };
    }),
  };
}

const HOT_ROWS = 64;

export function sampleSoftmax(got: Float32Array, input: Rows): Float32Array {
  const { rows, cols } = input;
  if (got.length !== rows * cols) throw new Error(`expected ${rows * cols} numbers, got ${got.length}`);
  const wrong = got.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw new Error(`element ${wrong} is ${got[wrong]}`);
  const checked = checkedSoftmaxRows(input);
  const sample = new Float32Array(checked.length * cols);
  checked.forEach((row, at) => sample.set(got.subarray(row * cols, (row + 1) * cols), at * cols));
  return sample;
}

export function softmaxCall({ x, rows, cols }: Rows): EngineCall {
  return {
    operands: [{ data: x, shape: [rows, cols], dtype: "f32" }],
    outShape: [rows, cols],
    call: (on, [tensor = x], options) => on.softmax(tensor, options),
  };
}

/** Attention over whole sequences: limited by arithmetic. */
export function attentionOnEngines(context: EngineContext): Suite<AttentionInput> {
  const { engines, quick } = context;
  const { gpu } = engines;
  // On a GPU in thousands of operations, so that 10⁹ of them per second are a TFLOP/s.
  const unit = "unavailable" in gpu || gpu.emulated ? "GFLOP/s" : "TFLOP/s";
  const scale = unit === "TFLOP/s" ? 1e3 : 1;
  return {
    id: "engine-attention",
    title: "Engine: attention on the CPU and on the GPU",
    about: `f32, dense, heads × length × head dimension. ${HOW} Counted are 4 · head dimension operations per pair of query and key. Peak: an f32 matrix product in plain WGSL, measured in this run.`,
    unit,
    compares: "rate",
    ...peakOf(engines, GPU_MATRIX),
    cases: PREFILL.filter(([, where]) => isMeasured(where, engines, quick)).map(([shape]): BenchCase<AttentionInput> => {
      const { heads, queries, dim } = shape;
      const amount = flopsOf(shape) / scale;
      const limits =
        "unavailable" in gpu ? [] : [onGpuOnly(GPU_MATRIX, gpu.limits.matrixFlopsPerSecond / scale), onGpuOnly(GPU_FMA, gpu.limits.fmaFlopsPerSecond / scale)];
      return {
        ...attentionCase(shape),
        name: `${heads}×${queries}×${dim}`,
        what: "dense",
        limits,
        work: { amount, bytes: bytesOf(shape) },
        contenders: () => attentionContenders(context, shape),
      };
    }),
  };
}

/** One query per sequence: limited by reading keys and values. */
export function decodeOnEngines(context: EngineContext): Suite<AttentionInput> {
  const { engines, quick } = context;
  const { gpu } = engines;
  return {
    id: "engine-decode",
    title: "Engine: decoding on the CPU and on the GPU",
    about: `Llama 3 8B: f32, one query, 32 query heads share 8 heads of keys and values, head dimension 128. ${HOW} GB/s count the keys and values. Peak: the bandwidth of a copy by plain WGSL, out of cache.`,
    unit: "GB/s",
    compares: "rate",
    ...peakOf(engines, GPU_COPY),
    cases: DECODE.filter(([, where]) => isMeasured(where, engines, quick)).map(([keys]): BenchCase<AttentionInput> => {
      const shape = llama(keys);
      const bytes = 8 * shape.kvHeads * keys * shape.dim;
      return {
        ...attentionCase(shape),
        name: `32/8×${keys}×128`,
        what: `${Math.round(bytes / 2 ** 20)} MiB of keys and values`,
        limits: "unavailable" in gpu ? [] : [onGpuOnly(GPU_COPY, gpu.limits.copyBytesPerSecond)],
        work: { amount: bytes, bytes },
        contenders: () => attentionContenders(context, shape),
      };
    }),
  };
}

/** A call of one thread that takes longer than this is left out: some 40 GFLOP/s, and verification makes several. */
const LONGEST_SINGLE_FLOPS = 8e10;

function attentionContenders({ engines, peers }: EngineContext, shape: HeadShape): readonly Contender<AttentionInput>[] {
  const isDense = shape.heads === shape.kvHeads;
  const emulated = "unavailable" in engines.gpu || engines.gpu.emulated;
  return [
    ...engineContenders(engines, attentionCall, {
      tolerance: ownAttentionTolerance,
      gpuTolerance: gpuAttentionTolerance,
      skipSingle: flopsOf(shape) > LONGEST_SINGLE_FLOPS ? "a call on one thread would take seconds" : undefined,
    }),
    ...peers.map(({ name, note, attention }): Contender<AttentionInput> => ({
      ...{ name, note, group: "peer", tolerance: peerAttentionTolerance, prepare: attention },
      skipped: !isDense
        ? "its operator wants as many heads of keys as of queries"
        : emulated
          ? "its shader takes 20 seconds to compile on software"
          : undefined,
    })),
  ];
}

export function attentionCall({ heads, kvHeads, queries, keys, dim, q, k, v }: AttentionInput): EngineCall {
  return {
    operands: [
      { data: q, shape: [heads, queries, dim], dtype: "f32" },
      { data: k, shape: [kvHeads, keys, dim], dtype: "f32" },
      { data: v, shape: [kvHeads, keys, dim], dtype: "f32" },
    ],
    outShape: [heads, queries, dim],
    call: (on, [tq = q, tk = k, tv = v], options) => on.attention(tq, tk, tv, options),
  };
}

/** Plain WGSL limits what the GPU does, and nobody else. */
function onGpuOnly(name: string, rate: number): Limit {
  return { name, variant: "webgpu", rate };
}

function peakOf({ gpu }: Engines, name: string): { readonly peak?: string } {
  return "unavailable" in gpu ? {} : { peak: name };
}

function isMeasured(where: Where, { gpu }: Engines, quick: boolean): boolean {
  if (where === "everywhere") return true;
  if ("unavailable" in gpu) return where === "not on software" && !quick;
  return !gpu.emulated;
}
