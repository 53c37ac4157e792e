import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planAttention } from "../backend/wasm/plans/attention.ts";
import { parseOutput } from "../calls/arguments.ts";
import { type Integers, checkDim, checkHeads, parseCausal, parseHeads, parseIntegers, parseModifiers, parsePerBatch } from "../calls/attention-arguments.ts";
import { type AttentionCall, type Sequence, headOperand } from "../calls/attention-call.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions, parseFlag } from "../errors/options.ts";
import type { Tensor, TensorLike } from "../tensor/tensor.ts";
import type { AttentionOptions, AttentionResultWithLse } from "./attention.ts";

/** Options of {@link attentionVarlen}: the options of `attention` that do not concern padding. */
export interface AttentionVarlenOptions extends Pick<
  AttentionOptions,
  "scale" | "causal" | "windowSize" | "softcap" | "alibiSlopes" | "sinks" | "queryOffset" | "out" | "returnLse"
> {
  /** Where each sequence's queries start, then where the last ends: batch + 1 integers from 0. Rows of q behind it give 0 and −inf. */
  readonly cuSeqlensQ: Integers;
  /** The same for keys and values. Default `cuSeqlensQ`. */
  readonly cuSeqlensK?: Integers;
}

const KNOWN = new Set(["scale", "causal", "windowSize", "softcap", "alibiSlopes", "sinks", "queryOffset", "out", "returnLse", "cuSeqlensQ", "cuSeqlensK"]);

/**
 * Attention over a ragged batch: sequences of different lengths, packed back to back without padding. Each sequence attends only to
 * its own keys.
 *
 * @param q - queries [total, Hq, E], f32
 * @param k - keys [totalK, Hkv, E]
 * @param v - values [totalK, Hkv, Ev]
 * @param options - see {@link AttentionVarlenOptions}; positions and offsets count within a sequence
 * @returns [total, Hq, Ev]; with `returnLse` also the log-sum-exp [Hq, total]
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for head
 *   dimensions above 1024, DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is
 *   written
 *
 * @example
 * ```ts
 * const x = tensor(new Float32Array([1, 2, 3]), [3, 1, 1]); // two sequences: [1] and [2, 3]
 * attentionVarlen(x, x, x, { cuSeqlensQ: [0, 1, 3], scale: 0 }).data; // [1, 2.5, 2.5]
 * ```
 */
export function attentionVarlen(
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: AttentionVarlenOptions & { readonly returnLse: true },
): AttentionResultWithLse;
export function attentionVarlen(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionVarlenOptions & { readonly returnLse?: false }): Tensor<"f32">;
export function attentionVarlen(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionVarlenOptions): Tensor<"f32"> | AttentionResultWithLse;
export function attentionVarlen(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionVarlenOptions): Tensor<"f32"> | AttentionResultWithLse {
  return compute(defaultRuntime(), planAttention, parseAttentionVarlen(q, k, v, options));
}

/** Checks the arguments of ragged attention. @internal */
export function parseAttentionVarlen(queries: unknown, keys: unknown, values: unknown, options: AttentionVarlenOptions): AttentionCall {
  checkOptions(options, KNOWN);
  if (!(options as unknown)) throw new TypeError(`"options" expected an object with "cuSeqlensQ", got ${describe(options)}`);
  const q = parseHeads("q", queries);
  const k = parseHeads("k", keys);
  const v = parseHeads("v", values);
  for (const [name, view] of [
    ["q", q],
    ["k", k],
    ["v", v],
  ] as const) {
    if (view.shape.length !== 3) throw new RangeError(`"${name}" expected shape [total, heads, dim], got ${describe(view.shape)}`);
  }
  const [total = 0, heads = 0, dim = 0] = q.shape;
  const [totalK = 0, kvHeads = 0, kDim = 0] = k.shape;
  const [totalV = 0, vHeads = 0, valueDim = 0] = v.shape;
  if (kDim !== dim) throw new RangeError(`"k" expected last dimension ${dim} as in "q", got ${kDim}`);
  if (totalV !== totalK) throw new RangeError(`"v" expected ${totalK} rows as in "k", got ${totalV}`);
  if (vHeads !== kvHeads) throw new RangeError(`"v" expected ${kvHeads} heads as in "k", got ${vHeads}`);
  checkHeads(heads, kvHeads);
  checkDim("q", dim);
  checkDim("v", valueDim);
  const returnLse = parseFlag("returnLse", options.returnLse);
  const causal = parseCausal(options.causal);
  const startsQ = parseStarts("cuSeqlensQ", options.cuSeqlensQ, total);
  const startsK = options.cuSeqlensK === undefined ? startsQ : parseStarts("cuSeqlensK", options.cuSeqlensK, totalK);
  if (startsK === startsQ && totalK !== total) throw new RangeError(`"k" expected ${total} rows as "q" without "cuSeqlensK", got ${totalK}`);
  if (startsK.length !== startsQ.length) throw new RangeError(`"cuSeqlensK" expected ${startsQ.length} entries as "cuSeqlensQ", got ${startsK.length}`);
  const batch = startsQ.length - 1;
  const offsets = parsePerBatch("queryOffset", options.queryOffset, batch, "sequence");
  const sequences = Array.from({ length: batch }, (_, b): Sequence => {
    const [queryStart = 0, queryEnd = 0] = startsQ.slice(b, b + 2);
    const [keyStart = 0, keyEnd = 0] = startsK.slice(b, b + 2);
    const [rows, keyLength] = [queryEnd - queryStart, keyEnd - keyStart];
    const offset = offsets?.[b] ?? (causal === "upper-left" ? 0 : keyLength - rows);
    return { batch: 0, queryStart, keyStart, rows, queryLength: rows, keyLength, offset };
  });
  const used = startsQ.at(-1) ?? 0;
  // Padding is a sequence without queries and keys.
  if (used < total) sequences.push({ batch: 0, queryStart: used, keyStart: 0, rows: total - used, queryLength: 0, keyLength: 0, offset: 0 });

  const operands = { q: headOperand(q, "blhd"), k: headOperand(k, "blhd"), v: headOperand(v, "blhd"), bias: undefined, mask: undefined };
  const shape = [total, heads, valueDim];
  const out = parseOutput(options.out, shape, "f32", undefined, operands);
  return {
    ...parseModifiers(options, heads, dim, causal !== "none"),
    kind: "attention",
    op: "attention",
    heads,
    kvHeads,
    dim,
    valueDim,
    operands,
    sequences,
    blockMask: undefined,
    layout: "blhd",
    lseStrides: { batch: 0, head: total, row: 1 },
    results: { out: { shape, dtype: "f32", out }, lse: returnLse ? { shape: [heads, total], dtype: "f32", out: undefined } : undefined },
  };
}

function parseStarts(name: string, value: unknown, total: number): readonly number[] {
  const starts = parseIntegers(name, value);
  const rises = starts.every((start, i) => start >= (starts[i - 1] ?? 0));
  if (starts.length < 1 || starts[0] !== 0 || starts.some((start) => start > total) || !rises) {
    throw new RangeError(`"${name}" expected integers that rise from 0 to at most ${total}, got ${describe(starts)}`);
  }
  return starts;
}
