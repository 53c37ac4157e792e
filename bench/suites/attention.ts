import { DECODE_HEADS, DENSE, LONG_HEADS, MODEL_HEADS, PEER_HEADS, QUICK_HEADS, type HeadShape, type HeadSizes } from "../../test/cases/shapes.ts";
import type { Context } from "../contenders/context.ts";
import { plainJavascript } from "../contenders/javascript.ts";
import { MULTIPLY_ADD, multiplyAddLimits, READ, readLimit } from "../contenders/limits.ts";
import { inMemory, onEachBinary, onepass } from "../contenders/onepass.ts";
import { byPeers } from "../contenders/peers.ts";
import { workingMemory } from "../contenders/working-memory.ts";
import type { BenchCase, Suite } from "../measure/contender.ts";
import { amountOf, cacheBytesOf, withOptions } from "../measure/problem.ts";

/** Attention over whole sequences: limited by arithmetic. */
export function attentionSuite(context: Context): Suite {
  const { instances, peers, quick } = context;
  return {
    id: "attention",
    title: "Attention",
    about:
      "f32, one thread, heads × length × head dimension (32/8: query heads / heads of keys and values). Counted are 4 · head dimension operations per pair of query and key that causality and window leave visible. Peak: independent multiply-adds in registers, fused for relaxed SIMD, mul and add for baseline.",
    unit: "GFLOP/s",
    compares: "rate",
    peak: MULTIPLY_ADD,
    cases: (quick ? QUICK_HEADS : MODEL_HEADS).map((shape) => ({
      ...shape,
      memory: () => workingMemory(shape.call),
      contenders: () => [
        ...onEachBinary(instances, "attention"),
        plainJavascript(shape.call, quick),
        ...(PEER_HEADS.includes(shape) ? byPeers(peers, shape.call) : []),
        ...multiplyAddLimits(context, amountOf(shape.call)),
      ],
    })),
  };
}

/** The cache that other libraries, which may take seconds for a call, are tried on. */
const PEER_KEYS = 4096;

/** One query per sequence, as a language model makes a token: limited by reading keys and values. */
export function decodeSuite(context: Context): Suite {
  const { instances, peers, quick } = context;
  return {
    id: "attention-decode",
    title: "Decoding: attention of one query",
    about:
      "Llama 3 8B: f32, one thread, 32 query heads share 8 heads of keys and values, head dimension 128. GB/s count the keys and values. The limit is a v128 sum over as many bytes; with 32768 keys these lie in main memory.",
    unit: "GB/s",
    compares: "rate",
    peak: READ,
    cases: DECODE_HEADS.slice(0, quick ? 2 : undefined).map(({ what, call }) => {
      const bytes = cacheBytesOf(call);
      const flops = amountOf(call);
      return {
        name: `${call.keys} keys`,
        what,
        call,
        amount: bytes,
        memory: () => workingMemory(call),
        contenders: () => [
          ...onEachBinary(instances, "attention"),
          plainJavascript(call, quick),
          ...(call.keys === PEER_KEYS ? byPeers(peers, call) : []),
          readLimit(context, bytes),
          ...multiplyAddLimits(context, flops, bytes / flops),
        ],
      };
    }),
  };
}

/** What an option makes of the time of the dense call. */
type Options = readonly (readonly [name: string, options: Partial<HeadSizes>])[];

const OPTIONS: Options = [
  ["causal", { causal: true }],
  ["boolean mask", { mask: true }],
  ["bias", { bias: true }],
  ["ALiBi", { alibi: true }],
  ["softcap", { softcap: 50 }],
];
const WINDOW: Options = [["window [255, 0]", { windowSize: [255, 0] }]];

/** The same call with and without each option. */
export function optionsSuite({ instances, quick }: Context): Suite {
  const compare = ({ name, call }: HeadShape, options: Options): readonly BenchCase[] =>
    instances.slice(0, quick ? 1 : undefined).map((instance) => ({
      name: `${name}, ${instance.variant}`,
      what: `${call.queries} queries and keys, ${call.heads} heads, head dimension ${call.dim}`,
      call,
      contenders: () =>
        [["dense", {}] as const, ...options].map(([option, sizes], i) => ({
          ...onepass(instance, option, inMemory),
          lead: i === 0,
          amount: amountOf({ ...call, ...sizes }),
          adapt: (problem) => withOptions(problem, sizes),
        })),
    }));
  return {
    id: "attention-options",
    title: "What options of attention cost",
    about:
      "Time relative to the dense call of the same shape, all in one run; less is better. Mask and bias are matrices [queries, keys] for all heads; the mask's bytes are an array of the caller, everything else is in module memory. The mask removes a random tenth of the pairs. GFLOP/s count the visible pairs of causality and windows only.",
    unit: "GFLOP/s",
    compares: "cost",
    cases: quick ? compare(DENSE, [...OPTIONS.slice(0, 1), ...OPTIONS.slice(2, 3)]) : [...compare(DENSE, OPTIONS), ...compare(LONG_HEADS, WINDOW)],
  };
}
