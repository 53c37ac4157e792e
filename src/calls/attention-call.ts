import type { View } from "../tensor/tensor.ts";
import type { BlockMask } from "./block-mask.ts";
import type { Call, Operand, Result } from "./call.ts";
import { type Layout, inBhld } from "./head-layout.ts";
import type { KeyRangeRule } from "./key-range.ts";

/** Strides along batch, head and row (query or key), in elements. */
export interface RowStrides {
  readonly batch: number;
  readonly head: number;
  readonly row: number;
}

/** Strides of a tensor with heads: these and the stride along the head dimension. */
export interface HeadStrides extends RowStrides {
  readonly dim: number;
}

/** A tensor with heads. */
export interface HeadOperand extends Operand, HeadStrides {}

/** A bias or mask over [B, Hq, L, S], with strides along query and key. */
export interface ScoreOperand extends Operand, RowStrides {
  readonly key: number;
}

/** Keys and values of a cache: in module memory, in pages of 64 keys (a tile) of all heads. */
export interface Pages {
  /** For each batch entry and tile, where its page is, in bytes from where the data of `k` and `v` starts; −1 for a tile that is gone. */
  readonly tables: readonly (readonly number[])[];
  /** For each batch entry, the keys that are gone, although others of their tile may be left: none of them is visible. */
  readonly gone: readonly Gone[];
}

/** The keys `from` … `to`. */
export interface Gone {
  readonly from: number;
  readonly to: number;
}

/** One sequence of a call: where its rows start and how many there are. */
export interface Sequence {
  readonly batch: number;
  /** First row in the query (key) tensor, on top of the batch stride; only ragged batches use it. */
  readonly queryStart: number;
  readonly keyStart: number;
  /** Rows of the output, and how many of them are queries in use. */
  readonly rows: number;
  readonly queryLength: number;
  readonly keyLength: number;
  /** Position of query 0 among the keys. */
  readonly offset: number;
}

/** What determines the scores of a checked call. */
export interface ScoreCall extends Call {
  readonly op: "attention" | "attentionScores";
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  /** 0 if only scores are wanted. */
  readonly valueDim: number;
  readonly operands: {
    readonly q: HeadOperand;
    readonly k: HeadOperand;
    /** `undefined` if only scores are wanted. */
    readonly v: HeadOperand | undefined;
    readonly bias: ScoreOperand | undefined;
    readonly mask: ScoreOperand | undefined;
  };
  readonly sequences: readonly Sequence[];
  readonly rule: KeyRangeRule;
  readonly scale: number;
  readonly softcap: number;
  readonly slopes: Float32Array | undefined;
  readonly sinks: Float32Array | undefined;
  readonly blockMask: BlockMask | undefined;
  /** Of keys and values that are in pages. Their strides are then those within a page, and lack a batch. */
  readonly pages?: Pages | undefined;
}

/** A checked call of attention. */
export interface AttentionCall extends ScoreCall {
  readonly kind: "attention";
  readonly op: "attention";
  readonly operands: ScoreCall["operands"] & { readonly v: HeadOperand };
  /** Of the output. */
  readonly layout: Layout;
  /** Of the log-sum-exp, without gaps. */
  readonly lseStrides: RowStrides;
  readonly results: { readonly out: Result; readonly lse: Result | undefined };
}

/** A checked argument as a tensor with heads. */
export function headOperand({ data, strides }: View, layout: Layout): HeadOperand {
  return { data, ...headStrides(strides, layout) };
}

/** A tensor's strides by the names of its dimensions. */
export function headStrides(strides: readonly number[], layout: Layout): HeadStrides {
  const [batch, head, row, dim] = inBhld(strides, layout, 0);
  return { batch, head, row, dim };
}
