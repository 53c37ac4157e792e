import { type CrossEntropyCall, type SampleCall, type SamplingCall, type TopKCall, logitsOf } from "../../../calls/sampling-call.ts";
import { BLOCK_ELEMENTS } from "../module/kernels.ts";
import type { ModuleMemory } from "../module/memory.ts";
import type { KernelCall, Table } from "./plan.ts";
import { ELEMENT_NS } from "./schedule.ts";

/** Bytes of a key (assembly/sampling/key.ts). */
const KEY_BYTES = 8;
const BLOCK_BYTES = BLOCK_ELEMENTS * 4;
/** Keys that are sorted at once, and bytes of a histogram (assembly/sampling/nucleus.ts). */
const MOST_SORTED = 1024;
const HISTOGRAM_BYTES = 513 * 32;
/** Bytes of an adjustment of one logit (assembly/kernels/adjust-logits.ts). */
const ADJUSTMENT_BYTES = 12;
/** Which argument of the kernels is scratch. */
const KERNEL_SCRATCH = 1 << 7;

/** Why a row cannot be sampled, by what sample_f32 writes for its token: −1 and so on. */
const CANNOT_BE_SAMPLED = ["has NaN", "has +inf", "has only −inf"] as const;

/** Rows of a stage that kernels compute at once. */
export interface Rows {
  /** Number of the first, in the whole call, and how many. */
  readonly first: number;
  readonly count: number;
  /** Number of the stage's first row, and where its tables are. */
  readonly stage: number;
  readonly tables: number;
  /** Address of the first row of the logits or of a result, and the distance to the next, in bytes. 0 for a result that is not wanted. */
  readonly placeOf: (name: string) => { readonly at: number; readonly stride: number };
}

/** What a call computes, as its plan sees it. */
export interface Computation {
  readonly threadBytes: number;
  readonly elementNs: number;
  /** Whether kernels change the logits, which have to be a copy then. */
  readonly changesLogits: boolean;
  /** Results of which all rows stay in scratch until the last is there, because the call may fail or reduces them. */
  readonly kept: ReadonlySet<string>;
  /** Whether what is kept becomes one number at the end. */
  readonly reduces: boolean;
  /** A result that kernels can write where the caller wants it. */
  readonly inPlace: string | undefined;
  /** The most bytes of tables per row, and the tables of some rows. */
  readonly tableBytes: number;
  tables(from: number, to: number, address: number): readonly Table[];
  calls(rows: Rows): KernelCall[];
  /** Looks at what is kept, once all rows are there: throws if the call has failed. */
  conclude(memory: ModuleMemory, addressOf: (name: string) => number, rows: number): void;
}

const PLAIN = {
  changesLogits: false,
  kept: new Set<string>(),
  reduces: false,
  inPlace: undefined,
  tableBytes: 0,
  tables: () => [],
  conclude: () => undefined,
} as const;

/** How a call is computed. */
export function computationOf(call: SamplingCall): Computation {
  if (call.op === "sample") return drawOf(call);
  return call.op === "crossEntropy" ? lossOf(call) : largestOf(call);
}

function largestOf(call: TopKCall): Computation {
  const { op, k, scale } = call;
  const cols = colsOf(call);
  const withProbs = op === "topKSoftmax";
  return {
    ...PLAIN,
    threadBytes: (k + blocksOf(cols)) * KEY_BYTES + (withProbs ? BLOCK_BYTES : 0),
    elementNs: ELEMENT_NS.f32,
    calls: ({ count, placeOf }) => {
      const { at, stride } = placeOf("logits");
      const args = [at, count, cols, stride, k, placeOf(withProbs ? "logProbs" : "values").at, placeOf("indices").at, 0];
      return [
        withProbs ? { kernel: "top_k_softmax_f32", args: [...args, scale], relative: KERNEL_SCRATCH } : { kernel: "top_k_f32", args, relative: KERNEL_SCRATCH },
      ];
    },
  };
}

function drawOf(call: SampleCall): Computation {
  const { k, filterScale, drawScale, topP, minP, seed, step, adjustments, penalties } = call;
  const cols = colsOf(call);
  const blocks = blocksOf(cols);
  const most = adjustments.reduce((n, { size }) => Math.max(n, size), 0);
  const adjustmentsOf = (row: number): SampleCall["adjustments"][number] => adjustments[row % adjustments.length] ?? new Map();
  const rowTableBytes = most * ADJUSTMENT_BYTES;
  return {
    ...PLAIN,
    threadBytes: 16 + (Math.max(k, MOST_SORTED) + blocks) * KEY_BYTES + (k > 0 ? 0 : cols * 4 + 31 + blocks * 8 + HISTOGRAM_BYTES),
    elementNs: ELEMENT_NS.f32,
    changesLogits: most > 0,
    kept: new Set(["tokens", "logProbs"]),
    tableBytes: rowTableBytes,
    tables: (from, to, address) => {
      if (most === 0) return [];
      const bytes = new DataView(new ArrayBuffer((to - from) * rowTableBytes));
      for (let row = from; row < to; row++) {
        let at = (row - from) * rowTableBytes;
        for (const [token, { count, bias }] of adjustmentsOf(row)) {
          bytes.setInt32(at, token, true);
          bytes.setInt32(at + 4, count, true);
          bytes.setFloat32(at + 8, bias, true);
          at += ADJUSTMENT_BYTES;
        }
      }
      return [{ address, words: new Int32Array(bytes.buffer) }];
    },
    calls: ({ first, count, stage, tables, placeOf }) => {
      const { at, stride } = placeOf("logits");
      const adjusting = Array.from({ length: most > 0 ? count : 0 }, (_, r): KernelCall => {
        const table = tables + (first + r - stage) * rowTableBytes;
        const { repetition, frequency, presence } = penalties;
        return { kernel: "adjust_logits_f32", args: [at + r * stride, table, adjustmentsOf(first + r).size, repetition, frequency, presence], relative: 0 };
      });
      const results = [placeOf("tokens").at, placeOf("logProbs").at];
      const args = [at, count, cols, stride, first, ...results, 0, filterScale, drawScale, k, topP, minP, seed, step];
      return [...adjusting, { kernel: "sample_f32", args, relative: KERNEL_SCRATCH }];
    },
    conclude: ({ i32 }, addressOf, rows) => {
      const tokens = i32.subarray(addressOf("tokens") / 4, addressOf("tokens") / 4 + rows);
      const row = tokens.findIndex((token) => token < 0);
      if (row >= 0) throw new RangeError(`"logits" expected rows that can be sampled, but row ${row} ${CANNOT_BE_SAMPLED[-1 - (tokens[row] ?? 0)]}`);
    },
  };
}

function lossOf(call: CrossEntropyCall): Computation {
  const { targets, smoothing, reduction, results } = call;
  const cols = colsOf(call);
  const counted = targets.reduce((n, target) => n + (target >= 0 ? 1 : 0), 0);
  return {
    ...PLAIN,
    threadBytes: BLOCK_BYTES + blocksOf(cols) * KEY_BYTES,
    elementNs: ELEMENT_NS.f32,
    kept: new Set(["loss"]),
    reduces: reduction !== "none",
    inPlace: "grad",
    tableBytes: 4,
    tables: (from, to, address) => [{ address, words: targets.subarray(from, to) }],
    calls: ({ first, count, stage, tables, placeOf }) => {
      const [logits, grad] = [placeOf("logits"), placeOf("grad")];
      const args = [logits.at, count, cols, logits.stride, tables + (first - stage) * 4, placeOf("loss").at, results.grad === undefined ? 0 : grad.at, 0];
      return [{ kernel: "cross_entropy_f32", args: [...args, grad.stride, reduction === "mean" ? 1 / counted : 1, smoothing], relative: KERNEL_SCRATCH }];
    },
    conclude: ({ f32 }, addressOf, rows) => {
      if (reduction === "none") return;
      const at = addressOf("loss") / 4;
      const sum = f32.subarray(at, at + rows).reduce((a, b) => a + b, 0);
      f32[at] = reduction === "mean" ? sum / counted : sum;
    },
  };
}

function colsOf(call: SamplingCall): number {
  return logitsOf(call).shape[call.axis] ?? 1;
}

function blocksOf(cols: number): number {
  return Math.ceil(cols / BLOCK_ELEMENTS);
}
