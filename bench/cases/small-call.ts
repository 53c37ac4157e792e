import type { Context } from "../context.ts";
import type { Contender, Suite } from "../contender.ts";
import type { Rows } from "../inputs.ts";
import { ownTolerance } from "../verify.ts";
import { javascriptSoftmax } from "./javascript.ts";
import { inModule, onPlainArrays, type RowCall } from "./onepass-rows.ts";
import { peerSoftmaxes, softmaxCase } from "./softmax.ts";

const softmax: RowCall = (on, x, out) => on.softmax(x, { out });

/** Ten elements: what a call costs apart from the arithmetic. */
export function smallCallSuite(context: Context): Suite<Rows> {
  return {
    id: "small-call",
    title: "Cost of one call: softmax of ten elements",
    about: "The result goes into a given output. Checks, planning and, for plain arrays, the copies are all in it.",
    unit: "Gelem/s",
    compares: "time",
    cases: [
      {
        ...softmaxCase(1, 10, "1×10", "one MNIST digit", context),
        limits: [],
        batch: 200,
        contenders: () => [...ours(context), javascriptSoftmax, ...peerSoftmaxes(context)],
      },
    ],
  };
}

function ours({ instances }: Context): readonly Contender<Rows>[] {
  const shape = ({ cols }: Rows): readonly number[] => [1, cols];
  const places = [
    { name: "softmax, plain arrays", prepare: onPlainArrays },
    { name: "softmax", prepare: inModule },
  ];
  return instances.slice(0, 1).flatMap((instance) =>
    places.map(({ name, prepare }, i) => ({
      name,
      group: "onepass",
      variant: instance.variant,
      lead: i === 0,
      tolerance: ownTolerance,
      prepare: prepare(instance, softmax, shape),
    })),
  );
}
