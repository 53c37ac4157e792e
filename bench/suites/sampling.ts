import { LLAMA_LOGITS, LLAMA_TOKEN, type RowSizes } from "../../test/cases/shapes.ts";
import type { Context } from "../contenders/context.ts";
import { inMemory, onepass } from "../contenders/onepass.ts";
import { lossOf, sortedRows, tokensOf, topKBy, topKOf } from "../contenders/sampling.ts";
import type { Suite } from "../measure/contender.ts";
import type { Problem } from "../measure/problem.ts";

/** How many elements top-k keeps. */
const K = 50;
const FILTERS = { temperature: 0.8, topK: K, topP: 0.9 } as const;

/** The same rows, all of whose probabilities are wanted. */
function asSoftmax(problem: Problem): Problem {
  const { rows, cols } = problem.call as RowSizes;
  return { ...problem, call: { op: "softmax", rows, cols }, outShape: [rows, cols] };
}

/** From logits to the next token, and to the loss, next to the one pass that all of them need: log-sum-exp of the same rows. */
export function samplingSuite({ instances, peers }: Context): Suite {
  return {
    id: "sampling",
    title: "Sampling and cross-entropy",
    about:
      "f32, one thread, tensors in module memory, relative to log-sum-exp of the same rows; cross-entropy with its gradient compares with softmax. " +
      "Plain JavaScript sorts the indices of a row with a comparator. TopK of other libraries gives values without probabilities.",
    unit: "Gelem/s",
    compares: "cost",
    cases: [LLAMA_TOKEN, LLAMA_LOGITS].map(({ name, what, call }) => ({
      name,
      what,
      call: { ...call, op: "logSumExp" as const },
      contenders: () => [
        ...instances.slice(0, 1).flatMap((instance) => [
          { ...onepass(instance, "logSumExp", inMemory), lead: true },
          { ...onepass(instance, "softmax", inMemory), adapt: asSoftmax },
          { ...topKOf(instance, "topK", K), name: `topK, ${K}` },
          { ...topKOf(instance, "topKSoftmax", K), name: `topKSoftmax, ${K}` },
          { ...tokensOf(instance, FILTERS), name: "sample, top-k and top-p" },
          { ...tokensOf(instance, { topP: 0.9 }), name: "sample, top-p alone" },
          { ...lossOf(instance, false), name: "crossEntropy" },
          { ...lossOf(instance, true), name: "crossEntropy with gradient" },
        ]),
        { ...sortedRows(K), skipped: call.rows > 1 ? "a call would take seconds" : undefined },
        ...peers.flatMap((peer) => topKBy(peer, K)),
      ],
    })),
  };
}
