import type { Context } from "../context.ts";
import type { BenchCase, Contender, Suite } from "../contender.ts";
import { hotHeads, normalHeads, visiblePairs, withModifiers, type AttentionInput, type HeadShape, type Modifiers } from "../heads.ts";
import { attentionReference, checkedRows } from "../references.ts";
import { javascriptAttention } from "./javascript.ts";
import { MULTIPLY_ADD, multiplyAddLimits, READ, readLimit } from "./machine-limits.ts";
import { attentionContenders } from "./onepass-attention.ts";
import { peerAttentions } from "./peer-attention.ts";
import { workingMemory } from "./working-memory.ts";

/** A shape, where one meets it, and how often it is measured. */
interface Shape extends HeadShape {
  readonly name: string;
  readonly what: string;
  readonly modifiers?: Modifiers;
  /** In quick mode too. */
  readonly quick?: true;
  /** Other libraries, which may take seconds for a call, take part. */
  readonly peers?: true;
}

const shape = (heads: number, length: number, dim: number): HeadShape => ({ heads, kvHeads: heads, queries: length, keys: length, dim });

const PREFILL: readonly Shape[] = [
  { ...shape(12, 512, 64), name: "12×512×64", what: "BERT-base", quick: true, peers: true },
  { ...shape(12, 197, 64), name: "12×197×64", what: "ViT-B", quick: true, peers: true },
  { ...shape(12, 1024, 64), name: "12×1024×64 causal", what: "GPT-2", modifiers: { causal: true } },
  { ...shape(32, 1024, 128), kvHeads: 8, name: "32/8×1024×128 causal", what: "Llama 3 8B: prefill, 32 query heads share 8", modifiers: { causal: true } },
  {
    ...shape(8, 1024, 256),
    kvHeads: 4,
    name: "8/4×1024×256 window",
    what: "Gemma 2: causal, softcap 50, window of 512",
    modifiers: { causal: true, softcap: 50, windowSize: [511, 0] },
  },
  { ...shape(10, 4096, 64), name: "10×4096×64", what: "SDXL: self-attention" },
  { ...shape(8, 2048, 64), name: "8×2048×64", what: "dense", peers: true },
  { ...shape(8, 1024, 128), name: "8×1024×128", what: "dense", quick: true, peers: true },
  { ...shape(8, 1024, 80), name: "8×1024×80", what: "dense, head dimension 80" },
  { ...shape(8, 1024, 96), name: "8×1024×96", what: "dense, head dimension 96" },
];

const DECODE_KEYS = [1024, 4096, 8192, 32768];

/** Attention over whole sequences: limited by arithmetic. */
export function attentionSuite(context: Context): Suite<AttentionInput> {
  return {
    id: "attention",
    title: "Attention",
    about:
      "f32, one thread, heads × length × head dimension (32/8: query heads / heads of keys and values). Counted are 4 · head dimension operations per pair of query and key that causality and window leave visible. Peak: independent multiply-adds in registers, fused for relaxed SIMD, mul and add for baseline.",
    unit: "GFLOP/s",
    compares: "rate",
    peak: MULTIPLY_ADD,
    cases: PREFILL.filter(({ quick }) => quick === true || !context.quick).map((s): BenchCase<AttentionInput> => ({
      ...attentionCase(s, s.modifiers),
      name: s.name,
      what: s.what,
      label: `${s.what.split(/[:,]/)[0]}\n${s.name.replaceAll(" ", "\n")}`,
      work: { amount: flopsOf(s, s.modifiers), bytes: bytesOf(s) },
      memory: () => workingMemory(s, s.modifiers),
      contenders: () => [
        ...attentionContenders(context),
        javascriptAttention(s, s.modifiers, context.quick),
        ...(s.peers === true ? peerAttentions(context) : []),
        ...multiplyAddLimits(context, flopsOf(s, s.modifiers)),
      ],
    })),
  };
}

/** One query per sequence, as a language model makes a token: limited by reading keys and values. */
export function decodeSuite(context: Context): Suite<AttentionInput> {
  const lengths = context.quick ? [1024, 4096] : DECODE_KEYS;
  return {
    id: "attention-decode",
    title: "Decoding: attention of one query",
    about:
      "Llama 3 8B: f32, one thread, 32 query heads share 8 heads of keys and values, head dimension 128. GB/s count the keys and values. The limit is a v128 sum over as many bytes; with 32768 keys these lie in main memory.",
    unit: "GB/s",
    compares: "rate",
    peak: READ,
    cases: lengths.map((keys): BenchCase<AttentionInput> => {
      const s: HeadShape = { heads: 32, kvHeads: 8, queries: 1, keys, dim: 128 };
      const bytes = 2 * 4 * s.kvHeads * keys * s.dim;
      return {
        ...attentionCase(s),
        name: `${keys} keys`,
        what: `Llama 3 8B, ${Math.round(bytes / 2 ** 20)} MiB of keys and values`,
        work: { amount: bytes, bytes },
        memory: () => workingMemory(s),
        contenders: () => [
          ...attentionContenders(context),
          javascriptAttention(s, undefined, context.quick),
          ...(keys === 4096 ? peerAttentions(context) : []),
          readLimit(context, bytes),
          ...multiplyAddLimits(context, flopsOf(s), bytes / flopsOf(s)),
        ],
      };
    }),
  };
}

const DENSE = shape(8, 2048, 64);
const LONG = shape(2, 8192, 64);

/** What each option makes of the time of the dense call. */
const OPTIONS: readonly (readonly [name: string, modifiers: Modifiers])[] = [
  ["causal", { causal: true }],
  ["boolean mask", { mask: true }],
  ["bias", { bias: true }],
  ["ALiBi", { alibi: true }],
  ["softcap", { softcap: 50 }],
];

/** The same call with and without each option. */
export function modifiersSuite(context: Context): Suite<AttentionInput> {
  const instances = context.quick ? context.instances.slice(0, 1) : context.instances;
  const compare = (s: HeadShape, name: string, options: typeof OPTIONS): readonly BenchCase<AttentionInput>[] =>
    instances.map(({ variant }) => ({
      ...attentionCase(s),
      name: `${name}, ${variant}`,
      what: `${s.heads} heads, ${s.queries} queries and keys, head dimension ${s.dim}`,
      work: { amount: flopsOf(s), bytes: bytesOf(s) },
      contenders: () =>
        [["dense", {}] as const, ...options].map(([option, modifiers], i): Contender<AttentionInput> => {
          const own = attentionContenders(context).find((contender) => contender.variant === variant);
          if (own === undefined) throw new Error(`no contender runs ${variant}`);
          return {
            ...own,
            name: option,
            lead: i === 0,
            amount: flopsOf(s, modifiers),
            expected: (input) => attentionReference(withModifiers(input, modifiers)),
            prepare: (input) => own.prepare(withModifiers(input, modifiers)),
          };
        }),
    }));
  return {
    id: "attention-options",
    title: "What options of attention cost",
    about:
      "Time relative to the dense call of the same shape, all in one run; less is better. Mask and bias are matrices [queries, keys] for all heads; the mask's bytes are an array of the caller, everything else is in module memory. The mask removes a random tenth of the pairs. GFLOP/s count the visible pairs of causality and windows only.",
    unit: "GFLOP/s",
    compares: "cost",
    cases: [
      ...compare(DENSE, "8×2048×64", context.quick ? OPTIONS.filter(([name]) => name === "causal" || name === "bias") : OPTIONS),
      ...(context.quick ? [] : compare(LONG, "2×8192×64", [["window [255, 0]", { windowSize: [255, 0] }]])),
    ],
  };
}

/** All of an attention case but its names, work and contenders. */
export function attentionCase(
  s: HeadShape,
  modifiers?: Modifiers,
): Pick<BenchCase<AttentionInput>, "limits" | "input" | "hotInput" | "reference" | "sample" | "errorFloor"> {
  return {
    limits: [],
    input: () => normalHeads(s, modifiers),
    hotInput: hotHeads,
    reference: attentionReference,
    sample: sampleRows,
    // Outputs are means of the values, many of them near 0: errors below 1 are absolute.
    errorFloor: 1,
  };
}

/** Operations that count: 4 · head dimension per visible pair. */
export const flopsOf = (s: HeadShape, modifiers: Modifiers = {}): number => 4 * s.dim * visiblePairs(s, modifiers);

/** Queries and output, keys and values. */
export const bytesOf = ({ heads, kvHeads, queries, keys, dim }: HeadShape): number => 4 * dim * (2 * heads * queries + 2 * kvHeads * keys);

/** The rows that the reference has. The others must at least have been written: outputs are NaN before a call. */
function sampleRows(got: Float32Array, input: AttentionInput): Float32Array {
  const { heads, queries, dim } = input;
  if (got.length !== heads * queries * dim) throw new Error(`expected ${heads * queries * dim} numbers, got ${got.length}`);
  const wrong = got.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw new Error(`element ${wrong} is ${got[wrong]}`);
  const rows = checkedRows(input);
  const sample = new Float32Array(rows.length * dim);
  rows.forEach((row, at) => sample.set(got.subarray(row * dim, (row + 1) * dim), at * dim));
  return sample;
}
