import { planMerge } from "../backend/wasm/plans/merge.ts";
import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { parseF32 } from "../calls/arguments.ts";
import { type Layout, headsFirst, sizesOf } from "../calls/head-layout.ts";
import { type MergeCall, stateOperands } from "../calls/merge-call.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions, parseChoice } from "../errors/options.ts";
import { sameShape } from "../tensor/shape.ts";
import type { TensorLike } from "../tensor/tensor.ts";
import type { AttentionResultWithLse } from "./attention.ts";

/** The result of attention over part of the keys: output and log-sum-exp. */
export interface PartialAttention {
  /** [B, H, L, E], or fewer leading dimensions; f32. */
  readonly out: TensorLike;
  /** Heads before length, [B, H, L]: the output's shape without its last dimension; f32. */
  readonly lse: TensorLike;
}

const KNOWN = new Set(["layout"]);

/**
 * Merges attention over disjoint parts of the keys into attention over all of them, left to right. Merging states (out, lse) is
 * associative: split-KV decoding, shared prefixes and attention across machines rely on this. Two states give the same bits in either
 * order. Give sinks to one part only, or merge them as one more state: zeros with the sink as log-sum-exp.
 * A log-sum-exp of +∞ is that of attention over a score of +∞, and gives NaN: for an empty row, where flash-attention 2 writes +∞, pass −∞.
 *
 * @param parts - one or more; `out` [B, H, L, E] (or fewer leading dimensions) and `lse` [B, H, L], the same shapes in every part
 * @param options - `layout` of the outputs; log-sum-exps have heads before length in both layouts
 * @returns the merged output and log-sum-exp; rows that no part saw give 0 and −inf
 * @throws TypeError if an argument has the wrong type or is f64, RangeError if shapes differ, UnsupportedError for bytes without scales,
 *   DisposedError if a tensor has been disposed
 *
 * @example
 * ```ts
 * const one = { out: tensor(new Float32Array([1, 1]), [1, 2]), lse: new Float32Array([0]) };
 * const two = { out: tensor(new Float32Array([3, 5]), [1, 2]), lse: new Float32Array([0]) };
 * mergeStates([one, two]).out.data; // [2, 3]
 * ```
 */
export function mergeStates(parts: readonly PartialAttention[], options: { readonly layout?: Layout } = {}): AttentionResultWithLse {
  return compute(defaultRuntime(), planMerge, parseMergeStates(parts, options));
}

/** Checks the arguments of mergeStates. @internal */
export function parseMergeStates(parts: unknown, options: { readonly layout?: Layout } = {}): MergeCall {
  checkOptions(options, KNOWN);
  const layout = parseChoice<Layout>("layout", options.layout, ["bhld", "blhd"]);
  if (!Array.isArray(parts)) throw new TypeError(`"parts" expected an array of { out, lse }, got ${describe(parts)}`);
  const states = (parts as readonly unknown[]).map((part, i) => {
    if (typeof part !== "object" || part === null) throw new TypeError(`"parts[${i}]" expected { out, lse }, got ${describe(part)}`);
    const { out, lse } = part as Partial<PartialAttention>;
    return { out: parseF32(`parts[${i}].out`, out), lse: parseF32(`parts[${i}].lse`, lse) };
  });
  const first = states[0];
  if (first === undefined) throw new RangeError(`"parts" expected at least one state, got none`);
  const { shape } = first.out;
  if (shape.length < 2 || shape.length > 4) throw new RangeError(`"parts[0].out" expected 2 to 4 dimensions, got shape ${describe(shape)}`);
  const lseShape = headsFirst(sizesOf(shape, layout));
  states.forEach(({ out, lse }, i) => {
    if (!sameShape(out.shape, shape)) throw new RangeError(`"parts[${i}].out" expected shape ${describe(shape)}, got ${describe(out.shape)}`);
    if (!sameShape(lse.shape, lseShape)) throw new RangeError(`"parts[${i}].lse" expected shape ${describe(lseShape)}, got ${describe(lse.shape)}`);
  });
  const result = (of: readonly number[]) => ({ shape: of, dtype: "f32" as const, out: undefined });
  return { kind: "merge", op: "mergeStates", operands: stateOperands(states), layout, results: { out: result(shape), lse: result(lseShape) } };
}
