import type { ScoreStage } from "../../src/calls/scores-call.ts";
import type { ScoreOptions, TensorLike } from "../../src/index.ts";
import { countOf, offsetsOf, stridesOf } from "../reference/indices.ts";
import type { Subject } from "../support/subjects.ts";

// ONNX Attention (opsets 23 to 25, and the operators of ONNX Runtime expressed by it) in terms of this library. What the two
// mean differently is translated here: a head dimension that is folded into the last one, caches that are concatenated,
// positions that count from the first key of the cache, masks shorter than the keys.

/** A tensor as the cases hold it. */
export interface CaseTensor {
  readonly dims: readonly number[];
  readonly dtype: string;
  readonly data: ArrayLike<number> | ArrayLike<bigint>;
}

export interface Inputs {
  readonly Q: CaseTensor;
  readonly K: CaseTensor;
  readonly V: CaseTensor;
  readonly attn_mask?: CaseTensor;
  readonly past_key?: CaseTensor;
  readonly past_value?: CaseTensor;
  readonly nonpad_kv_seqlen?: CaseTensor;
  /** Not of ONNX: one logit per query head. */
  readonly sinks?: CaseTensor;
}

export interface Attributes {
  readonly q_num_heads?: number;
  readonly kv_num_heads?: number;
  readonly scale?: number;
  readonly softcap?: number;
  readonly is_causal?: number;
  readonly left_window_size?: number;
  readonly right_window_size?: number;
  readonly qk_matmul_output_mode?: number;
  /** Accumulation is f32 here whatever it says. */
  readonly softmax_precision?: number;
}

type ToFloat64 = (t: CaseTensor) => Float64Array;

/** Heads in "bhld" order, whatever the rank of the tensor they come from. */
interface Heads {
  readonly data: Float32Array | Uint16Array;
  readonly dtype: "f32" | "f16" | "bf16";
  readonly shape: readonly [batch: number, heads: number, length: number, dim: number];
  readonly strides: readonly number[];
}

const ONNX_NAMES = { f32: "float32", f16: "float16", bf16: "bfloat16" } as const;

/** What `qk_matmul_output_mode` numbers. */
const STAGES: readonly ScoreStage[] = ["raw", "softcapped", "masked", "probabilities"];

/** The `attention` of an adapter for the runner of the cases. */
export function attentionAdapter(subject: Subject, toFloat64: ToFloat64) {
  const toF32 = (t: CaseTensor): Float32Array => Float32Array.from(toFloat64(t));

  /** 16-bit floats as they are. */
  const floatsOf = (t: CaseTensor): Pick<Heads, "data" | "dtype"> =>
    t.data instanceof Uint16Array ? { data: t.data, dtype: t.dtype === "bfloat16" ? "bf16" : "f16" } : { data: toF32(t), dtype: "f32" };

  /** A view of a tensor [B, H, L, E] or [B, L, H · E]; nothing is moved. */
  function headsOf(name: string, t: CaseTensor, heads: number | undefined): Heads {
    const [batch = 0, second = 0, third = 0, fourth = 0] = t.dims;
    if (t.dims.length === 4) return { ...floatsOf(t), shape: [batch, second, third, fourth], strides: stridesOf(t.dims) };
    if (heads === undefined || heads < 1 || third % heads !== 0)
      throw new RangeError(`"${name}" expected heads that divide its last dimension ${third}, got ${heads}`);
    const dim = third / heads;
    return { ...floatsOf(t), shape: [batch, heads, second, dim], strides: [second * third, dim, third, 1] };
  }

  /** The cache and what is new, one after the other: the present output. */
  function append(name: string, past: CaseTensor | undefined, current: Heads): Heads {
    const [batch, heads, length, dim] = current.shape;
    const before = past === undefined ? undefined : headsOf(name, past, undefined);
    const count = before?.shape[2] ?? 0;
    if (before !== undefined && String(before.shape) !== String([batch, heads, count, dim])) {
      throw new RangeError(`"${name}" expected [${batch}, ${heads}, …, ${dim}] as what it is the past of, got [${before.shape.join(", ")}]`);
    }
    const shape = [batch, heads, count + length, dim] as const;
    const strides = stridesOf(shape);
    const data = new (current.data.constructor as new (count: number) => Float32Array)(countOf(shape));
    const copy = (from: Heads, first: number): void => {
      const sources = offsetsOf(from.shape, from.strides);
      offsetsOf(from.shape, strides).forEach((at, i) => (data[at + first * dim] = from.data[sources[i] ?? -1] ?? NaN));
    };
    if (before !== undefined) copy(before, 0);
    copy(current, count);
    return { data, dtype: current.dtype, shape, strides };
  }

  /** A mask of bytes or floats, its last dimension padded with "masked" up to the number of keys. */
  function maskOption(mask: CaseTensor | undefined, keys: number): Pick<ScoreOptions, "mask" | "bias"> {
    if (mask === undefined) return {};
    if (mask.dims.length < 1 || mask.dims.length > 4) throw new RangeError(`"attn_mask" expected 1 to 4 dimensions, got ${mask.dims.length}`);
    const given = mask.dims.at(-1) ?? 0;
    const width = Math.max(given, keys);
    const shape = [...mask.dims.slice(0, -1), width];
    const values = toFloat64(mask);
    const bool = mask.dtype === "bool";
    const padded = new Float32Array(countOf(shape)).fill(bool ? 0 : -Infinity);
    values.forEach((value, i) => (padded[Math.floor(i / given) * width + (i % given)] = value));
    return bool ? { mask: { data: Uint8Array.from(padded), shape } } : { bias: { data: padded, shape } };
  }

  return async function attention(inputs: Inputs, attributes: Attributes, wanted: readonly string[]): Promise<Record<string, CaseTensor>> {
    const { Q, K, V, attn_mask: mask, past_key: pastKey, past_value: pastValue, nonpad_kv_seqlen: nonpad, sinks } = inputs;
    const { scale, softcap, is_causal: causal = 0, left_window_size: left = -1, right_window_size: right = -1, qk_matmul_output_mode: mode = 0 } = attributes;
    const rank = Q.dims.length;
    if ((rank !== 3 && rank !== 4) || K.dims.length !== rank || V.dims.length !== rank) {
      throw new RangeError(`"Q" expected 3 or 4 dimensions and "K" and "V" as many, got ${rank}, ${K.dims.length} and ${V.dims.length}`);
    }
    if (left < -1 || right < -1) throw new RangeError(`"left_window_size" and "right_window_size" expected -1 or more, got ${left} and ${right}`);
    if (scale !== undefined && scale < 0) throw new RangeError(`"scale" expected a number that is not negative, got ${scale}`);
    if (causal !== 0 && causal !== 1) throw new RangeError(`"is_causal" expected 0 or 1, got ${causal}`);
    if ((pastKey === undefined) !== (pastValue === undefined)) throw new RangeError(`"past_key" expected together with "past_value"`);
    if (nonpad !== undefined && pastKey !== undefined) throw new RangeError(`"nonpad_kv_seqlen" expected no cache of the past beside it`);
    const stage = STAGES[mode];
    if (stage === undefined) throw new RangeError(`"qk_matmul_output_mode" expected 0 to 3, got ${mode}`);

    const q = headsOf("Q", Q, attributes.q_num_heads);
    const k = append("past_key", pastKey, headsOf("K", K, attributes.kv_num_heads));
    const v = append("past_value", pastValue, headsOf("V", V, attributes.kv_num_heads));
    const [batch, heads, queries] = q.shape;
    const kvLengths = nonpad === undefined ? undefined : Array.from(nonpad.data as ArrayLike<bigint>, Number);
    const options: ScoreOptions = {
      ...maskOption(mask, k.shape[2]),
      scale,
      softcap,
      sinks: sinks === undefined ? undefined : toF32(sinks),
      causal: causal === 1,
      windowSize: [left, right].map((n) => (n === -1 ? Infinity : n)) as [number, number],
      // Query 0 comes after the cache; where lengths are given, the last query at the last key in use.
      queryOffset: kvLengths?.map((length) => length - queries) ?? k.shape[2] - (K.dims[rank - 2] ?? 0),
      kvLengths,
    };

    // Three dimensions are [B, L, H, E] with the last two folded: the same memory, seen in layout "blhd".
    const layout = rank === 3 ? "blhd" : "bhld";
    const view = ({ data, dtype, shape: [b, h, l, e], strides }: Heads): TensorLike => {
      const [sb = 0, sh = 0, sl = 0, se = 0] = strides;
      return rank === 3 ? { data, dtype, shape: [b, l, h, e], strides: [sb, sl, sh, se] } : { data, dtype, shape: [b, h, l, e], strides };
    };
    const out = await subject.attention(view(q), view(k), view(v), { ...options, layout });
    const dims = rank === 4 ? out.shape : [batch, queries, heads * v.shape[3]];
    const scores = wanted.includes("qk_matmul_output") ? await subject.attentionScores(view(q), view(k), { ...options, layout, stage }) : undefined;
    return {
      Y: { dims, data: out.data, dtype: "float32" },
      present_key: { dims: k.shape, data: k.data, dtype: ONNX_NAMES[k.dtype] },
      present_value: { dims: v.shape, data: v.data, dtype: ONNX_NAMES[v.dtype] },
      ...(scores && { qk_matmul_output: { dims: scores.shape, data: scores.data, dtype: "float32" } }),
    };
  };
}
