import type { SoftmaxAlgorithm } from "../../src/index.ts";
import { LOG_ROWS, MNIST_DIGIT, MODEL_ROWS } from "../../test/cases/shapes.ts";
import type { Context } from "../contenders/context.ts";
import { plainJavascript } from "../contenders/javascript.ts";
import { copyLimit } from "../contenders/limits.ts";
import { inMemory, onArrays, onEachBinary, onepass } from "../contenders/onepass.ts";
import { byPeers } from "../contenders/peers.ts";
import type { Suite } from "../measure/contender.ts";

const ALGORITHMS: readonly SoftmaxAlgorithm[] = ["standard", "safe", "online", "auto"];

/** Softmax over the last dimension: every algorithm, both binaries, plain JavaScript and other libraries. */
export function softmaxSuite({ instances, peers, machine }: Context): Suite {
  return {
    id: "softmax",
    title: "Softmax over the last axis",
    about:
      "f32, one thread. GB/s count four bytes read and four written per element. Tensors lie where each implementation computes, unless a row says otherwise.",
    unit: "Gelem/s",
    compares: "rate",
    cases: MODEL_ROWS.map((shape) => ({
      ...shape,
      limits: machine.expLimit,
      contenders: () => [
        ...instances.flatMap((instance, i) =>
          ALGORITHMS.map((algorithm) => ({
            ...onepass(instance, algorithm, inMemory, { algorithm }),
            lead: algorithm === "auto" && i === 0,
            overflows: algorithm === "standard",
          })),
        ),
        ...instances.slice(0, 1).map((instance) => onepass(instance, "auto, plain arrays", onArrays)),
        plainJavascript(shape.call),
        ...byPeers(peers, shape.call),
        copyLimit(machine),
      ],
    })),
  };
}

/** Log-softmax, as a loss wants it, and log-sum-exp, which reads only. */
export function logRowsSuite({ instances, machine }: Context): Suite {
  return {
    id: "log-rows",
    title: "Log-softmax and log-sum-exp",
    about: "f32, one thread, tensors in module memory. Log-sum-exp writes one number per row, so its GB/s count reads only.",
    unit: "Gelem/s",
    compares: "rate",
    cases: LOG_ROWS.flatMap(({ name, what, call }) =>
      (["logSoftmax", "logSumExp"] as const).map((op) => ({
        name: `${op} ${name}`,
        what,
        call: { ...call, op },
        limits: machine.expLimit,
        contenders: () => [...onEachBinary(instances, op, false), plainJavascript({ ...call, op }), ...(op === "logSoftmax" ? [copyLimit(machine)] : [])],
      })),
    ),
  };
}

/** Ten elements: what a call costs apart from the arithmetic. */
export function smallCallSuite({ instances, peers }: Context): Suite {
  return {
    id: "small-call",
    title: "Cost of one call: softmax of ten elements",
    about:
      "The result goes into a given output. Checks, planning and, for plain arrays, the copies are all in it: for ten numbers they cost more than the arithmetic.",
    unit: "Gelem/s",
    compares: "time",
    cases: [
      {
        ...MNIST_DIGIT,
        batch: 200,
        contenders: () => [
          ...instances.slice(0, 1).map((instance) => ({ ...onepass(instance, "softmax, plain arrays", onArrays), lead: true })),
          ...instances.slice(0, 1).map((instance) => onepass(instance, "softmax", inMemory)),
          plainJavascript(MNIST_DIGIT.call),
          ...byPeers(peers, MNIST_DIGIT.call),
        ],
      },
    ],
  };
}
