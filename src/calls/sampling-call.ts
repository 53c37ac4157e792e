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

/** Any call of the family. */
export type SamplingCall = TopKCall;

/** The logits of a call. */
export function logitsOf({ operands }: SamplingCall): View {
  return "x" in operands ? operands.x : operands.logits;
}
