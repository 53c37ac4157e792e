import type { Context } from "../context.ts";
import type { BenchCase, Contender, Suite } from "../contender.ts";
import { hotRows, normalRows, type Rows } from "../inputs.ts";
import { logSoftmaxReference, logSumExpReference } from "../references.ts";
import { ownTolerance } from "../verify.ts";
import { copyContender } from "./copy.ts";
import { javascriptLogSoftmax, javascriptLogSumExp } from "./javascript.ts";
import { inModule, type RowCall } from "./onepass-rows.ts";

const SHAPES: readonly (readonly [rows: number, cols: number, what: string])[] = [
  [32, 128256, "Llama 3: logits of 32 tokens"],
  [1024, 1024, "square"],
  [1024, 10, "MNIST: ten classes"],
];

/** Log-softmax, as a loss wants it, and log-sum-exp, which reads only. */
export function logRowsSuite(context: Context): Suite<Rows> {
  return {
    id: "log-rows",
    title: "Log-softmax and log-sum-exp",
    about: "f32, one thread, tensors in module memory. Log-sum-exp writes one number per row, so its GB/s count reads only.",
    unit: "Gelem/s",
    compares: "rate",
    cases: SHAPES.flatMap(([rows, cols, what]): BenchCase<Rows>[] => {
      const elements = rows * cols;
      const shared = { what, limits: context.machine.expLimit, input: () => normalRows(rows, cols), hotInput: hotRows, errorFloor: 1 };
      const logSoftmax: RowCall = (on, x, out) => on.logSoftmax(x, { out });
      const logSumExp: RowCall = (on, x, out) => on.logSumExp(x, { out });
      return [
        {
          ...shared,
          name: `logSoftmax ${rows}×${cols}`,
          work: { amount: elements, bytes: 8 * elements },
          reference: logSoftmaxReference,
          contenders: () => [...ours("logSoftmax", context, logSoftmax, ({ rows: r, cols: c }) => [r, c]), javascriptLogSoftmax, copyContender(context)],
        },
        {
          ...shared,
          name: `logSumExp ${rows}×${cols}`,
          work: { amount: elements, bytes: 4 * elements },
          reference: logSumExpReference,
          contenders: () => [...ours("logSumExp", context, logSumExp, ({ rows: r }) => [r]), javascriptLogSumExp],
        },
      ];
    }),
  };
}

function ours(name: string, { instances }: Context, call: RowCall, outShape: (input: Rows) => readonly number[]): readonly Contender<Rows>[] {
  return instances.map((instance, i) => ({
    name,
    group: "onepass",
    variant: instance.variant,
    lead: i === 0,
    tolerance: ownTolerance,
    prepare: inModule(instance, call, outShape),
  }));
}
