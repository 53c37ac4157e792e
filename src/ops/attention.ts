import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planAttention } from "../backend/wasm/plans/attention.ts";
import { parseOutput } from "../calls/arguments.ts";
import { type ScoreOptions, checkAttentionOptions, parseHeads, parseScores } from "../calls/attention-arguments.ts";
import type { AttentionCall } from "../calls/attention-call.ts";
import type { Operand } from "../calls/call.ts";
import { headsFirst } from "../calls/head-layout.ts";
import { parseFlag } from "../errors/options.ts";
import type { OutputLike, Tensor, TensorLike, View } from "../tensor/tensor.ts";

/** Options of {@link attention}. */
export interface AttentionOptions extends ScoreOptions {
  /** Receives the output: a tensor of the result's shape, or a Float32Array with as many elements. An `out` in f16 or bf16 gets the result rounded. The return value is as for `softmax`. */
  readonly out?: OutputLike;
  /** Also returns the log-sum-exp of every row, so that partial results can be merged. Default false. */
  readonly returnLse?: boolean;
}

/** Output and log-sum-exp. */
export interface AttentionResultWithLse {
  /** What attention returns without `returnLse`; stored in `out` if given. */
  readonly out: Tensor<"f32">;
  /** Natural log of the sum of exp(score) over the keys and the sink. Has the output's shape without its last dimension, heads before length. */
  readonly lse: Tensor<"f32">;
}

/**
 * Computes scaled dot-product attention, softmax(scale · q·kᵀ) · v per batch and head, in one pass over the keys and without the L × S
 * matrix (flash attention: Dao et al., arXiv:2205.14135, with the online softmax of arXiv:1805.02867).
 *
 * A score is scale·q·k, followed by softcap, ALiBi and bias. It becomes −inf where a mask, causality, the window or the lengths hide the
 * key. A row that sees no key gives 0 and a log-sum-exp of −inf. Keys and values that lengths, causality, window or block mask hide from
 * every query are never read. Those hidden by `mask` or `bias` are read, and so is the rest of a partly visible tile of 64 keys: a NaN
 * there may reach a row.
 *
 * @param q - queries [B, Hq, L, E]; fewer leading dimensions are fine; E at most 1024. Each of q, k and v is f32, f16, bf16 or i8 with scales
 * @param k - keys [B, Hkv, S, E]; Hkv divides Hq, query head h uses key head floor(h · Hkv / Hq)
 * @param v - values [B, Hkv, S, Ev], Ev at most 1024
 * @param options - see {@link AttentionOptions}
 * @returns [B, Hq, L, Ev], with the query's rank and layout; with `returnLse`, output and log-sum-exp
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for head
 *   dimensions above 1024, DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is
 *   written
 *
 * @example
 * ```ts
 * const q = tensor(new Float32Array([1, 0, 0, 1]), [2, 2]);
 * const v = tensor(new Float32Array([1, 2, 3, 4]), [2, 2]);
 * attention(q, q, v, { causal: true }).data; // [1, 2, 2.3395, 3.3395]
 * ```
 */
export function attention(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionOptions & { readonly returnLse: true }): AttentionResultWithLse;
export function attention(q: TensorLike, k: TensorLike, v: TensorLike, options?: AttentionOptions & { readonly returnLse?: false }): Tensor<"f32">;
export function attention(q: TensorLike, k: TensorLike, v: TensorLike, options?: AttentionOptions): Tensor<"f32"> | AttentionResultWithLse;
export function attention(q: TensorLike, k: TensorLike, v: TensorLike, options?: AttentionOptions): Tensor<"f32"> | AttentionResultWithLse {
  return compute(defaultRuntime(), planAttention, parseAttention(q, k, v, options));
}

/** PyTorch's name for {@link attention}, which others use too. */
export const scaledDotProductAttention: typeof attention = attention;

/** Checks the arguments of attention. @internal */
export function parseAttention(queries: unknown, keys: unknown, values: unknown, options: AttentionOptions = {}): AttentionCall {
  checkAttentionOptions(options);
  const q = parseHeads("q", queries);
  const k = parseHeads("k", keys);
  const v = parseHeads("v", values);
  const scores = parseScores(q, k, v, options);
  return attentionCall(q, scores, options, scores.operands);
}

/** The call of attention whose scores have been parsed. `out` must not overlap what the call `reads`. @internal */
export function attentionCall(
  q: View,
  { sizes, keyLength: _, ...call }: ReturnType<typeof parseScores>,
  options: AttentionOptions,
  reads: Readonly<Record<string, Operand | undefined>>,
): AttentionCall {
  const returnLse = parseFlag("returnLse", options.returnLse);
  const { heads, length } = sizes;
  const shape = [...q.shape.slice(0, -1), call.valueDim];
  const out = parseOutput(options.out, shape, "f32", undefined, reads);
  return {
    ...call,
    kind: "attention",
    op: "attention",
    operands: call.operands as AttentionCall["operands"],
    lseStrides: { batch: heads * length, head: length, row: 1 },
    results: { out: { shape, dtype: "f32", out }, lse: returnLse ? { shape: headsFirst(sizes), dtype: "f32", out: undefined } : undefined },
  };
}
