import type { AttentionResultWithLse } from "./attention.ts";
import { describe } from "../errors/errors.ts";
import { type Layout, headsFirst, inBhld, sizesOf } from "../calls/head-layout.ts";
import { checkOptions, parseChoice } from "../errors/options.ts";
import { type FloatView, type HostView, checkHost, parseInput } from "../calls/arguments.ts";
import type { MergeCall } from "../calls/merge-call.ts";
import { contiguousStrides, elementCount, sameShape } from "../tensor/shape.ts";
import type { Tensor, TensorLike } from "../tensor/tensor.ts";

/** What attention over a part of the keys returns: its output and its log-sum-exp. */
export interface PartialAttention {
  /** [B, H, L, E], or fewer leading dimensions; f32. */
  readonly out: TensorLike;
  /** Heads before length, [B, H, L]: the output's shape without its last dimension; f32. */
  readonly lse: TensorLike;
}

const KNOWN = new Set(["layout"]);

/**
 * Merges attention over disjoint parts of the keys into attention over all of them, left to right. The state (out, lse) is
 * associative, which is what split-KV decoding, shared prefixes and several machines rest on. Two states give the same bits in
 * either order. Give sinks to one part only, or merge them as one more state: zeros with the sink as log-sum-exp.
 *
 * @param parts - one or more; `out` [B, H, L, E] (or fewer leading dimensions), `lse` [B, H, L], all of the same shapes
 * @param options - `layout` of the outputs; log-sum-exps have heads before length in both
 * @returns the merged output and log-sum-exp; rows that no part saw give 0 and −inf
 * @throws TypeError if an argument is of the wrong kind or not f32, RangeError if shapes differ, UnsupportedError for bf16 and bytes,
 *   DisposedError for a tensor after its `dispose()`
 *
 * @example
 * ```ts
 * const one = { out: tensor(new Float32Array([1, 1]), [1, 2]), lse: new Float32Array([0]) };
 * const two = { out: tensor(new Float32Array([3, 5]), [1, 2]), lse: new Float32Array([0]) };
 * mergeStates([one, two]).out.data; // [2, 3]
 * ```
 */
export function mergeStates(parts: readonly PartialAttention[], options: { readonly layout?: Layout } = {}): AttentionResultWithLse {
  return mergeOnHost(parseMergeStates(parts, options));
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
  return { parts: states, layout, shape, lseShape };
}

/** Merges in plain JavaScript. @internal */
export function mergeOnHost({ parts, layout, shape, lseShape }: MergeCall): { readonly out: Tensor<"f32">; readonly lse: Tensor<"f32"> } {
  parts.forEach((part, i) => {
    checkHost(`parts[${i}].out`, part.out.data);
    checkHost(`parts[${i}].lse`, part.lse.data);
  });
  const states = parts as readonly { readonly out: HostView; readonly lse: HostView }[];
  const dim = shape.at(-1) ?? 0;
  const out = new Float32Array(elementCount(shape));
  const lse = new Float32Array(elementCount(lseShape)).fill(-Infinity);
  for (const state of states) {
    forEachRow(shape, layout, state, (stateOut, stateLse, outAt, lseAt) => {
      const a = lse[lseAt] ?? 0;
      const b = state.lse.data[stateLse] ?? 0;
      const m = Math.max(a, b);
      if (m === -Infinity) return;
      const wa = Math.exp(a - m);
      const wb = Math.exp(b - m);
      const sum = wa + wb;
      lse[lseAt] = m + Math.log(sum);
      const step = state.out.strides.at(-1) ?? 0;
      for (let d = 0; d < dim; d++) {
        // A state without keys has weight 0 and contributes nothing, whatever its output holds.
        const left = wa === 0 ? 0 : wa * (out[outAt + d] ?? 0);
        const right = wb === 0 ? 0 : wb * (state.out.data[stateOut + d * step] ?? 0);
        out[outAt + d] = (left + right) / sum;
      }
    });
  }
  return { out: { data: out, shape, dtype: "f32" }, lse: { data: lse, shape: lseShape, dtype: "f32" } };
}

function parseF32(name: string, value: unknown): FloatView {
  const view = parseInput(name, value);
  if (view.dtype !== "f32") throw new TypeError(`"${name}" expected dtype f32, got ${view.dtype}`);
  return view;
}

/** Visits the rows of an output: offsets into a state's (strided) arrays, and into the contiguous result. */
function forEachRow(
  shape: readonly number[],
  layout: Layout,
  { out, lse }: { readonly out: HostView; readonly lse: HostView },
  visit: (stateOut: number, stateLse: number, outAt: number, lseAt: number) => void,
): void {
  const { batch, heads, length } = sizesOf(shape, layout);
  const [ob, oh, ol] = inBhld(out.strides, layout, 0);
  const [rb, rh, rl] = inBhld(contiguousStrides(shape), layout, 0);
  const [lb, lh, ll] = inBhld([...lse.strides, 1], "bhld", 0);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let l = 0; l < length; l++) {
        visit(b * ob + h * oh + l * ol, b * lb + h * lh + l * ll, b * rb + h * rh + l * rl, (b * heads + h) * length + l);
      }
    }
  }
}
