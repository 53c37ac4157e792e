import type { Work } from "../../src/calls/work.ts";
import { workOfShapes } from "../../src/engine/explain.ts";
import type { Place } from "../../src/tensor/array.ts";

/** A call of f32 with operands and result in arrays, as tables name it. Dispatch has a choice only there. */
export type GridCall =
  | { readonly op: "softmax" | "logSoftmax" | "logSumExp"; readonly rows: number; readonly cols: number }
  | {
      readonly op: "attention";
      readonly heads: number;
      readonly kvHeads: number;
      readonly queries: number;
      readonly keys: number;
      readonly dim: number;
      /** The last query sees the last key. */
      readonly causal: boolean;
      /** Keys before its own that a query sees; all when absent. */
      readonly windowLeft?: number;
    };

/** What dispatch makes of a call. */
export function workOf(call: GridCall, place: Place = "host"): Work {
  if (call.op !== "attention") return workOfShapes(call.op, { x: [call.rows, call.cols] }, { place });
  const { heads, kvHeads, queries, keys, dim, causal, windowLeft } = call;
  const kv = [kvHeads, keys, dim];
  return workOfShapes("attention", { q: [heads, queries, dim], k: kv, v: kv }, { place, causal, windowSize: [windowLeft ?? Infinity, Infinity] });
}

/** The work of a row operation. */
export function rowWork(op: "softmax" | "logSoftmax" | "logSumExp", [rows, cols]: readonly [number, number], place: Place = "host"): Work {
  return workOf({ op, rows, cols }, place);
}

/** Kinds of calls that are judged apart as well as together. */
export type GridKind = "rows" | "prefill" | "masked prefill" | "decode";

export function kindOf(call: GridCall): GridKind {
  if (call.op !== "attention") return "rows";
  if (call.queries <= 4) return "decode";
  return call.causal ? "masked prefill" : "prefill";
}

/** Lengths of queries and keys: text encoders, tile edges, long documents, cross attention both ways. */
const LENGTHS = [
  [77, 77],
  [128, 128],
  [200, 200],
  [256, 256],
  [512, 512],
  [1024, 1024],
  [1500, 1500],
  [4096, 4096],
  [128, 4096],
  [4096, 77],
  [1000, 64],
] as const;

/** The calls that dispatch is judged by. */
export function grid(): readonly GridCall[] {
  const calls: GridCall[] = [];
  for (const op of ["softmax", "logSoftmax", "logSumExp"] as const) {
    for (const rows of [1, 12, 64, 500, 4096, 30000]) {
      for (const cols of [16, 77, 300, 1024, 4000, 32768, 300000, 4194304]) if (rows * cols <= 2 ** 24) calls.push({ op, rows, cols });
    }
  }
  for (const heads of [1, 4, 8, 16, 40]) {
    for (const [queries, keys] of LENGTHS) {
      for (const dim of [32, 64, 128, 256]) {
        // More is minutes on a CPU, and no question.
        if (heads * queries * keys * dim > 4e10) continue;
        const sizes = { op: "attention", heads, kvHeads: heads, queries, keys, dim } as const;
        calls.push({ ...sizes, causal: false });
        if (queries <= keys) calls.push({ ...sizes, causal: true }, { ...sizes, causal: true, windowLeft: 255 });
      }
    }
  }
  for (const [heads, kvHeads] of [
    [8, 8],
    [32, 8],
    [16, 1],
  ] as const) {
    for (const queries of [1, 4]) {
      for (const keys of [33, 128, 500, 1024, 4096, 16384, 65536]) {
        for (const dim of [64, 128]) calls.push({ op: "attention", heads, kvHeads, queries, keys, dim, causal: true });
      }
    }
  }
  return calls;
}
