import type { BlockMask } from "./block-mask.ts";
import { type Layout, inBhld } from "./head-layout.ts";
import type { KeyRangeRule } from "./key-range.ts";
import { type Bytes, type FloatView, type HostOutput, type Output, checkHost } from "./arguments.ts";
import { contiguousStrides } from "../tensor/shape.ts";
import type { DeviceArray } from "../tensor/tensor.ts";

/** Numbers of queries, keys and values: f32, f16 as bits, or a GPU buffer of either. */
export type HeadData = Float32Array | Uint16Array | DeviceArray;

/** A tensor of heads: strides in elements along batch, head, row (query or key) and head dimension. */
export interface HeadView<F = HeadData> {
  readonly data: F;
  readonly batch: number;
  readonly head: number;
  readonly row: number;
  readonly dim: number;
}

/** An addend or mask over [B, Hq, L, S]. */
export interface ScoreView<A> {
  readonly data: A;
  readonly batch: number;
  readonly head: number;
  readonly row: number;
  readonly key: number;
}

/** One sequence of a call: where its rows start and how many there are. */
export interface Sequence {
  readonly batch: number;
  /** First row in the query's (key's) tensor, beyond the batch stride; only ragged batches use it. */
  readonly queryStart: number;
  readonly keyStart: number;
  /** Rows that the output has, and how many of them are queries in use. */
  readonly rows: number;
  readonly queryLength: number;
  readonly keyLength: number;
  /** Position of query 0 among the keys. */
  readonly offset: number;
}

/** What decides the scores of a checked call, the same for every backend. */
export interface ScoreCall<F = HeadData, M = Bytes, B = Float32Array | DeviceArray> {
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly q: HeadView<F>;
  readonly k: HeadView<F>;
  /** The keys once more where only scores are asked for. */
  readonly v: HeadView<F>;
  /** Of queries, keys and values. */
  readonly dtype: "f32" | "f16";
  readonly sequences: readonly Sequence[];
  readonly rule: KeyRangeRule;
  readonly scale: number;
  readonly softcap: number;
  readonly slopes: Float32Array | undefined;
  readonly sinks: Float32Array | undefined;
  readonly bias: ScoreView<B> | undefined;
  readonly mask: ScoreView<M> | undefined;
  readonly blockMask: BlockMask | undefined;
}

/** A checked call of attention, the same for every backend. */
export interface AttentionCall<F = HeadData, M = Bytes, B = Float32Array | DeviceArray, O = Output> extends ScoreCall<F, M, B> {
  readonly result: AttentionTarget<O>;
}

/** Where the results of attention go. */
export interface AttentionTarget<O = Output> {
  /** The output's shape and layout. */
  readonly shape: readonly number[];
  readonly layout: Layout;
  /** Where the caller wants the output, if anywhere. */
  readonly out: O | undefined;
  /** Shape of the log-sum-exp, and its strides along batch, head and row; absent when nobody wants it. */
  readonly lse: { readonly shape: readonly number[]; readonly batch: number; readonly head: number; readonly row: number } | undefined;
}

/** Calls whose operands are all in the CPU's memory, in a type that it computes with. */
export type HostScoreCall = ScoreCall<Float32Array, Uint8Array, Float32Array>;
export type HostAttentionCall = AttentionCall<Float32Array, Uint8Array, Float32Array, HostOutput>;

/** Checks that the CPU can take a call. */
export function hostAttentionCall(call: AttentionCall): HostAttentionCall {
  hostScoreCall(call);
  checkHost("out", call.result.out?.data);
  return call as HostAttentionCall;
}

/** Checks that the CPU can take the scores of a call. */
export function hostScoreCall<C extends ScoreCall>(call: C): C & HostScoreCall {
  const { dtype } = call;
  checkHost("q", call.q.data, dtype);
  checkHost("k", call.k.data);
  checkHost("v", call.v.data);
  checkHost("bias", call.bias?.data);
  checkHost("mask", call.mask?.data);
  return call as C & HostScoreCall;
}

/** A checked argument as heads. */
export function headView(view: FloatView, layout: Layout): HeadView {
  return { data: view.data as HeadData, ...headStrides(view.strides, layout) };
}

/** An output as heads. */
export function outputView({ data, strides }: HostOutput, { layout }: AttentionTarget): HeadView<Float32Array> {
  return { data: data as Float32Array, ...headStrides(strides, layout) };
}

/** Strides along batch, head, row and dimension of a gapless output. */
export function outputStrides({ shape, layout }: AttentionTarget): Omit<HeadView, "data"> {
  return headStrides(contiguousStrides(shape), layout);
}

function headStrides(strides: readonly number[], layout: Layout): Omit<HeadView, "data"> {
  const [batch, head, row, dim] = inBhld(strides, layout, 0);
  return { batch, head, row, dim };
}
