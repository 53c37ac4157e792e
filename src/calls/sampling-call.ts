import type { View } from "../tensor/tensor.ts";
import type { Call, Result } from "./call.ts";

/** A checked call that works on rows of logits along one axis. Its only operand is the logits; `topK` calls them x. */
interface LogitsCall extends Call {
  readonly kind: "sampling";
  readonly axis: number;
  readonly operands: { readonly x: View } | { readonly logits: View };
}

/** A call of topK or topKSoftmax. */
export interface TopKCall extends LogitsCall {
  readonly op: "topK" | "topKSoftmax";
  /** At most the size of the axis. Results have this size along it. */
  readonly k: number;
  /** Of topKSoftmax. */
  readonly scale: number;
  readonly results: { readonly values: Result; readonly indices: Result } | { readonly indices: Result; readonly logProbs: Result };
}

/** What a token's logit is changed by before sampling. */
export interface Adjustment {
  /** How often the token occurred before. */
  readonly count: number;
  readonly bias: number;
}

/** A call of sample. Filters that are off have values that leave everything: k 0, topP Infinity, minP 0. */
export interface SampleCall extends LogitsCall {
  readonly op: "sample";
  readonly k: number;
  readonly topP: number;
  readonly minP: number;
  /** What logits are multiplied with, 1 / temperature: before top-p and min-p look at them, and for the draw. */
  readonly filterScale: number;
  readonly drawScale: number;
  readonly seed: number;
  readonly step: number;
  readonly penalties: { readonly repetition: number; readonly frequency: number; readonly presence: number };
  /** By row and token, or the same for all rows if there is only one; empty if no logit changes. */
  readonly adjustments: readonly ReadonlyMap<number, Adjustment>[];
  readonly results: { readonly tokens: Result; readonly logProbs: Result };
}

/** How losses become one: their mean over the rows that count, their sum, or not at all. */
export type Reduction = "mean" | "sum" | "none";

/** A call of crossEntropy. */
export interface CrossEntropyCall extends LogitsCall {
  readonly op: "crossEntropy";
  /** The target of each row; −1 for one that does not count. */
  readonly targets: Int32Array;
  readonly smoothing: number;
  readonly reduction: Reduction;
  readonly results: { readonly loss: Result; readonly grad?: Result };
}

/** Any call of the family. */
export type SamplingCall = TopKCall | SampleCall | CrossEntropyCall;

/** The logits of a call. */
export function logitsOf({ operands }: SamplingCall): View {
  return "x" in operands ? operands.x : operands.logits;
}
