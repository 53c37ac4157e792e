import type { Context } from "../context.ts";
import type { Contender } from "../contender.ts";
import type { Rows } from "../inputs.ts";

/** The memory's limit: a v128 copy, which reads and writes the very bytes that a softmax of the same shape must. */
export function copyContender({ machine }: Context): Contender<Rows> {
  return {
    name: "v128 copy",
    group: "limit",
    tolerance: () => 0,
    expected: ({ x }) => Float64Array.from(x),
    prepare: ({ x }) => machine.copyRunner(x),
  };
}
