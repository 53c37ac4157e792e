import type { Layout } from "./attention-arguments.ts";
import { describe } from "./errors.ts";
import { checkOptions, parseChoice } from "./options.ts";
import { type FloatView, parseInput } from "./row-arguments.ts";
import { elementCount, sameShape } from "./shape.ts";
import type { Tensor, TensorLike } from "./tensor.ts";

/** What attention over a part of the keys returns: its output and its log-sum-exp. */
export interface PartialAttention {
  readonly out: TensorLike;
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
 * @throws TypeError if an argument is of the wrong kind, RangeError if shapes differ
 *
 * @example
 * ```ts
 * const one = { out: tensor(new Float32Array([1, 1]), [1, 2]), lse: new Float32Array([0]) };
 * const two = { out: tensor(new Float32Array([3, 5]), [1, 2]), lse: new Float32Array([0]) };
 * mergeStates([one, two]).out.data; // [2, 3]
 * ```
 */
export function mergeStates(
  parts: readonly PartialAttention[],
  options: { readonly layout?: Layout } = {},
): { readonly out: Tensor<"f32">; readonly lse: Tensor<"f32"> } {
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
  if (shape.length < 2 || shape.length > 4) throw new RangeError(`"parts[0].out" expected 2 to 4 dimensions, got shape [${shape.join(", ")}]`);
  const rows = rowsOf(shape, layout);
  states.forEach(({ out, lse }, i) => {
    if (!sameShape(out.shape, shape)) throw new RangeError(`"parts[${i}].out" expected shape [${shape.join(", ")}], got [${out.shape.join(", ")}]`);
    if (!sameShape(lse.shape, rows.lseShape))
      throw new RangeError(`"parts[${i}].lse" expected shape [${rows.lseShape.join(", ")}], got [${lse.shape.join(", ")}]`);
  });

  const dim = shape.at(-1) ?? 0;
  const out = new Float32Array(elementCount(shape));
  const lse = new Float32Array(elementCount(rows.lseShape)).fill(-Infinity);
  for (const state of states) {
    rows.forEach(state.out, state.lse, (stateOut, stateLse, outAt, lseAt) => {
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
  return { out: { data: out, shape, dtype: "f32" }, lse: { data: lse, shape: rows.lseShape, dtype: "f32" } };
}

function parseF32(name: string, value: unknown): FloatView {
  const view = parseInput(name, value);
  if (view.dtype !== "f32") throw new TypeError(`"${name}" expected dtype f32, got ${view.dtype}`);
  return view;
}

/** Visits the rows of an output: offsets into a state's (strided) arrays, and into the contiguous result. */
function rowsOf(shape: readonly number[], layout: Layout) {
  const dims = [1, 1, 1, ...shape].slice(-4);
  const swapped = layout === "blhd" && shape.length > 2;
  const [batch = 1, second = 1, third = 1, dim = 1] = dims;
  const [heads, length] = swapped ? [third, second] : [second, third];
  const lseShape = [batch, heads, length].slice(4 - shape.length);
  const pad = (strides: readonly number[], rank: number): number[] => [...new Array<number>(rank - strides.length).fill(0), ...strides];
  return {
    lseShape,
    forEach(out: FloatView, lse: FloatView, visit: (stateOut: number, stateLse: number, outAt: number, lseAt: number) => void): void {
      const [ob = 0, o2 = 0, o3 = 0] = pad(out.strides, 4);
      const [lb = 0, lh = 0, ll = 0] = pad(lse.strides, 3);
      const [oh, ol] = swapped ? [o3, o2] : [o2, o3];
      for (let b = 0; b < batch; b++) {
        for (let h = 0; h < heads; h++) {
          for (let l = 0; l < length; l++) {
            const row = swapped ? (b * length + l) * heads + h : (b * heads + h) * length + l;
            visit(b * ob + h * oh + l * ol, b * lb + h * lh + l * ll, row * dim, (b * heads + h) * length + l);
          }
        }
      }
    },
  };
}
