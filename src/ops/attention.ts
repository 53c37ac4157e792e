import { type ScoreOptions, checkAttentionOptions, parseHeads, parseScores, parseTarget } from "../calls/attention-arguments.ts";
import type { AttentionCall } from "../calls/attention-call.ts";
import { runAttentionCall } from "../backend/wasm/plans/attention.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { headsFirst } from "../calls/head-layout.ts";
import { parseFlag } from "../errors/options.ts";
import type { Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link attention}. */
export interface AttentionOptions extends ScoreOptions {
  /** Where the output goes: the result's shape, or a Float32Array of as many elements. What is returned is as for `softmax`. */
  readonly out?: TensorLike;
  /** Returns the log-sum-exp of every row as well, which lets partial results be merged. Default false. */
  readonly returnLse?: boolean;
}

/** Output and log-sum-exp. */
export interface AttentionResultWithLse {
  /** What attention returns without `returnLse`; over `out` when given. */
  readonly out: Tensor<"f32">;
  /** Natural log of the sum over keys (and the sink) of the exponentials of the scores: the output's shape without its last dimension, heads before length. */
  readonly lse: Tensor<"f32">;
}

/**
 * Scaled dot-product attention, softmax(scale · q·kᵀ) · v per batch and head, in one pass over the keys and without the L × S
 * matrix (flash attention: Dao et al., arXiv:2205.14135, over the online softmax of arXiv:1805.02867).
 *
 * Scores become scale·q·k, then softcap, ALiBi, bias, and −inf where a mask, causality, the window or the lengths say so. A row
 * that sees no key gives 0 and a log-sum-exp of −inf. Keys and values that no query may see under lengths, causality, window or
 * block mask are never read. Those that `mask` or `bias` hide are, and so is the rest of a tile of 64 keys that is partly visible: a NaN
 * among them may reach a row.
 *
 * @param q - queries [B, Hq, L, E]; fewer leading dimensions are fine; f32, E at most 1024
 * @param k - keys [B, Hkv, S, E]; Hkv divides Hq, query head h uses key head floor(h · Hkv / Hq)
 * @param v - values [B, Hkv, S, Ev], Ev at most 1024
 * @param options - see {@link AttentionOptions}
 * @returns [B, Hq, L, Ev], of the query's rank and layout; with `returnLse` both output and log-sum-exp
 * @throws TypeError if an argument is of the wrong kind, RangeError if a value or shape does not fit, UnsupportedError for what the CPU
 *   does not compute (f16 and bf16, head dimensions beyond 1024), DisposedError for a tensor after its `dispose()`, BackendError if
 *   memory is exhausted; nothing is written then
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
  return attentionOn(defaultRuntime(), q, k, v, options);
}

/** The name that PyTorch and others use for {@link attention}. */
export const scaledDotProductAttention: typeof attention = attention;

/** Attention on a given instance of the kernels. @internal */
export function attentionOn(runtime: Runtime, q: TensorLike, k: TensorLike, v: TensorLike, options?: AttentionOptions): Tensor<"f32"> | AttentionResultWithLse {
  return runAttentionCall(runtime, parseAttention(q, k, v, options));
}

/** Checks the arguments of attention. @internal */
export function parseAttention(queries: unknown, keys: unknown, values: unknown, options: AttentionOptions = {}): AttentionCall {
  checkAttentionOptions(options);
  const q = parseHeads("q", queries);
  const k = parseHeads("k", keys);
  const v = parseHeads("v", values);
  const returnLse = parseFlag("returnLse", options.returnLse);
  const call = parseScores(q, k, v, options);
  const { heads, length } = call.sizes;
  const lse = returnLse ? { shape: headsFirst(call.sizes), batch: heads * length, head: length, row: 1 } : undefined;
  return { ...call, result: parseTarget(options.out, [...q.shape.slice(0, -1), call.valueDim], call, options.layout ?? "bhld", lse) };
}
