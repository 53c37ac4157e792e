import type { FloatView } from "./arguments.ts";
import type { Layout } from "./head-layout.ts";

/** A checked call of mergeStates, the same for every backend. */
export interface MergeCall {
  readonly parts: readonly { readonly out: FloatView; readonly lse: FloatView }[];
  readonly layout: Layout;
  /** Of the outputs, and of the log-sum-exps. */
  readonly shape: readonly number[];
  readonly lseShape: readonly number[];
}
