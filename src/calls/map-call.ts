import type { MergeCall } from "./merge-call.ts";
import type { AttentionCall, ScoreCall } from "./attention-call.ts";
import type { Output } from "./arguments.ts";
import type { RowCall } from "./row-call.ts";
import type { Numbers } from "../tensor/tensor.ts";

/** Puts something else in the place of a tensor of a call. */
export type Replace = <V extends { readonly data: Numbers | Uint8Array }>(tensor: V) => V;

/** The same for where a result goes. */
export type ReplaceOutput = <O extends Output>(out: O) => O;

/** A call with its tensors replaced: those that it reads, and `out`. */
export type MapCall<C> = (call: C, read: Replace, write: ReplaceOutput) => C;

export function mapRowCall<C extends RowCall>(call: C, read: Replace, write: ReplaceOutput): C {
  const { x, bias, mask, out } = call;
  return { ...call, x: read(x), bias: bias && read(bias), mask: mask && read(mask), out: out && write(out) };
}

export function mapScoreCall<C extends ScoreCall>(call: C, read: Replace): C {
  const { q, k, v, bias, mask } = call;
  return { ...call, q: read(q), k: read(k), v: read(v), bias: bias && read(bias), mask: mask && read(mask) };
}

export function mapAttentionCall<C extends AttentionCall>(call: C, read: Replace, write: ReplaceOutput): C {
  const { result } = call;
  return { ...mapScoreCall(call, read), result: { ...result, out: result.out && write(result.out) } };
}

export function mapMergeCall(call: MergeCall, read: Replace): MergeCall {
  return { ...call, parts: call.parts.map(({ out, lse }) => ({ out: read(out), lse: read(lse) })) };
}
