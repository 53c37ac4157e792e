import type { View } from "../tensor/tensor.ts";
import type { Call, Result } from "./call.ts";
import type { Layout } from "./head-layout.ts";

/** A checked call of mergeStates. Its operands are `parts[0].out`, `parts[0].lse`, `parts[1].out` and so on. */
export interface MergeCall extends Call {
  readonly kind: "merge";
  readonly op: "mergeStates";
  readonly operands: Readonly<Record<string, View>>;
  readonly layout: Layout;
  readonly results: { readonly out: Result; readonly lse: Result };
}

/** A state: output and log-sum-exp. */
export interface StateView {
  readonly out: View;
  readonly lse: View;
}

/** The operands that hold states. */
export function stateOperands(states: readonly StateView[]): Readonly<Record<string, View>> {
  const operands: Record<string, View> = {};
  states.forEach(({ out, lse }, i) => {
    operands[`parts[${i}].out`] = out;
    operands[`parts[${i}].lse`] = lse;
  });
  return operands;
}

/** The states that a call merges. */
export function statesOf({ operands }: MergeCall): StateView[] {
  const states: StateView[] = [];
  for (let i = 0; ; i++) {
    const [out, lse] = [operands[`parts[${i}].out`], operands[`parts[${i}].lse`]];
    if (out === undefined || lse === undefined) return states;
    states.push({ out, lse });
  }
}
