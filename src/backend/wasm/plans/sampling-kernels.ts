import type { SamplingCall, TopKCall } from "../../../calls/sampling-call.ts";
import { logitsOf } from "../../../calls/sampling-call.ts";
import { BLOCK_ELEMENTS } from "../module/kernels.ts";
import type { ModuleMemory } from "../module/memory.ts";
import type { KernelCall, Table } from "./plan.ts";
import { ELEMENT_NS } from "./schedule.ts";

/** Bytes of a key (assembly/sampling/key.ts). */
const KEY_BYTES = 8;
const BLOCK_BYTES = BLOCK_ELEMENTS * 4;

/** Rows of a stage that kernels compute at once. */
export interface Rows {
  /** Number of the first, in the whole call, and how many. */
  readonly first: number;
  readonly count: number;
  /** Number of the stage's first row, and where its tables are. */
  readonly stage: number;
  readonly tables: number;
  /** Address of the first row of the logits or of a result, and the distance to the next, in bytes. 0 for a result that is not wanted. */
  placeOf(name: string): { readonly at: number; readonly stride: number };
}

/** What a call computes, as its plan sees it. */
export interface Computation {
  readonly threadBytes: number;
  readonly elementNs: number;
  /** Whether kernels change the logits, which have to be a copy then. */
  readonly changesLogits: boolean;
  /** Results of which all rows stay in scratch until the last is there, because the call may fail or reduces them. */
  readonly kept: ReadonlySet<string>;
  /** A result that kernels can write where the caller wants it. */
  readonly inPlace: string | undefined;
  /** The most bytes of tables per row, and the tables of some rows. */
  readonly tableBytes: number;
  tables(from: number, to: number, address: number): readonly Table[];
  calls(rows: Rows): KernelCall[];
  /** Looks at what is kept, once all rows are there: throws if the call has failed. */
  conclude(memory: ModuleMemory, addressOf: (name: string) => number, rows: number): void;
}

const PLAIN = { changesLogits: false, kept: new Set<string>(), inPlace: undefined, tableBytes: 0, tables: () => [], conclude: () => undefined } as const;

/** How a call is computed. */
export function computationOf(call: SamplingCall): Computation {
  return largestOf(call);
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
      return [withProbs ? { kernel: "top_k_softmax_f32", args: [...args, scale], relative: 1 << 7 } : { kernel: "top_k_f32", args, relative: 1 << 7 }];
    },
  };
}

function colsOf(call: SamplingCall): number {
  return logitsOf(call).shape[call.axis] ?? 1;
}

function blocksOf(cols: number): number {
  return Math.ceil(cols / BLOCK_ELEMENTS);
}
