import type { SampleOptions, Tensor } from "../../src/index.ts";
import type { Instance } from "../../src/testing/testing.ts";
import { crossEntropy, distribution, topKSoftmax, uniform } from "../../test/reference/sampling.ts";
import type { Contender, Runner } from "../measure/contender.ts";
import type { Problem } from "../measure/problem.ts";
import type { ReadyPeer } from "../peers/peer.ts";

// Sampling and cross-entropy as contenders, each with its own right result. Rows are checked until the reference, which sorts, has had half a
// second; what is read back is cut accordingly.

/** Rows that the reference computes. */
const CHECKED_ROWS = 4;
/** Relative; absolute below 1. */
const TOLERANCE = 1e-5;

function checkedRows({ call, operands: [x] }: Problem): readonly Float32Array[] {
  const { rows, cols } = call as { readonly rows: number; readonly cols: number };
  const data = x?.data ?? new Float32Array(0);
  return Array.from({ length: Math.min(rows, CHECKED_ROWS) }, (_, r) => data.subarray(r * cols, (r + 1) * cols));
}

const rowsOf = (problem: Problem): number => (problem.call as { readonly rows: number }).rows;

/** A contender with the logits in the instance's memory. `make` gives a call, and what it wrote of some rows. */
function onLogits(
  instance: Instance,
  expected: (problem: Problem) => ArrayLike<number>,
  make: (logits: Tensor<"f32">, problem: Problem) => { readonly run: () => unknown; read(rows: number): Float32Array; dispose?(): void },
): Omit<Contender, "name"> {
  return {
    group: "onepass",
    variant: instance.variant,
    expected,
    tolerance: () => TOLERANCE,
    prepare: (problem): Runner => {
      const given = problem.operands[0] ?? { data: new Float32Array(0), shape: [0] };
      const logits = instance.empty(given.shape);
      logits.data.set(given.data);
      const made = make(logits, problem);
      const end = (): void => {
        made.dispose?.();
        logits.dispose();
      };
      return { run: made.run, read: () => made.read(checkedRows(problem).length), dispose: end };
    },
  };
}

/** The k largest: their values, or log-probabilities. */
export function topKOf(instance: Instance, op: "topK" | "topKSoftmax", k: number): Omit<Contender, "name"> {
  const expected = (problem: Problem): number[] =>
    checkedRows(problem).flatMap((row) => {
      const { indices, logProbs } = topKSoftmax(row, k);
      return op === "topK" ? indices.map((i) => row[i] ?? NaN) : logProbs;
    });
  return onLogits(instance, expected, (logits, problem) => {
    const numbers = new Float32Array(rowsOf(problem) * k);
    const indices = new Int32Array(rowsOf(problem) * k);
    const run = () =>
      op === "topK"
        ? instance.topK(logits, k, { out: { values: numbers, indices } })
        : instance.topKSoftmax(logits, k, { out: { logProbs: numbers, indices } });
    return { run, read: (rows) => numbers.slice(0, rows * k) };
  });
}

/** One token for each row. */
export function tokensOf(instance: Instance, options: Pick<SampleOptions, "temperature" | "topK" | "topP">): Omit<Contender, "name"> {
  const expected = (problem: Problem): number[] =>
    checkedRows(problem).map((row, r) => {
      const { kept, probs } = distribution(row, options);
      let left = uniform(1, 0, r);
      return kept[probs.findIndex((p) => (left -= p) < 0)] ?? NaN;
    });
  return onLogits(instance, expected, (logits, problem) => {
    const tokens = new Int32Array(rowsOf(problem));
    return { run: () => instance.sample(logits, { ...options, seed: 1, out: { tokens } }), read: (rows) => Float32Array.from(tokens.subarray(0, rows)) };
  });
}

/** The loss of each row, and with `returnGrad` also its gradient, which is what is compared then. */
export function lossOf(instance: Instance, returnGrad: boolean): Omit<Contender, "name"> {
  const targetOf = (row: number, cols: number): number => (row * 4099) % cols;
  const expected = (problem: Problem): number[] =>
    checkedRows(problem).flatMap((row, r) => {
      const { loss, grad } = crossEntropy(row, targetOf(r, row.length));
      return returnGrad ? grad : [loss];
    });
  return onLogits(instance, expected, (logits, problem) => {
    const [rows = 0, cols = 0] = logits.shape;
    const targets = Int32Array.from({ length: rows }, (_, r) => targetOf(r, cols));
    const loss = new Float32Array(rowsOf(problem));
    if (!returnGrad) return { run: () => instance.crossEntropy(logits, targets, { reduction: "none", out: { loss } }), read: (n) => loss.slice(0, n) };
    const grad = instance.empty([rows, cols]);
    return {
      run: () => instance.crossEntropy(logits, targets, { reduction: "none", returnGrad, out: { loss, grad } }),
      read: (n) => grad.data.slice(0, n * cols),
      dispose: () => grad.dispose(),
    };
  });
}

/** What stands between logits and tokens without a library: softmax, then a sort of all indices. */
export function sortedRows(k: number): Contender {
  return {
    name: "plain JavaScript: softmax and sort",
    group: "javascript",
    expected: (problem) => checkedRows(problem).flatMap((row) => topKSoftmax(row, k).logProbs),
    tolerance: () => TOLERANCE,
    prepare: (problem) => {
      let logProbs: number[] = [];
      const run = (): void => {
        logProbs = checkedRows(problem).flatMap((row) => {
          const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
          const exps = row.map((v) => Math.exp(v - max));
          const sum = exps.reduce((a, b) => a + b, 0);
          const order = Array.from(exps, (_, i) => i).sort((a, b) => (exps[b] ?? 0) - (exps[a] ?? 0));
          return order.slice(0, k).map((i) => Math.log((exps[i] ?? 0) / sum));
        });
      };
      return { run, read: () => Float32Array.from(logProbs) };
    },
  };
}

/** A library's own top-k, if it has one: values only. */
export function topKBy({ name, note, topK }: ReadyPeer, k: number): readonly Contender[] {
  if (topK === undefined) return [];
  return [
    {
      ...{ name: `${name}, TopK`, note, group: "peer" },
      expected: (problem) => checkedRows(problem).flatMap((row) => topKSoftmax(row, k).indices.map((i) => row[i] ?? NaN)),
      tolerance: () => 0,
      prepare: async (problem) => {
        const runner = await topK(problem, k);
        return { ...runner, read: async () => (await runner.read()).slice(0, checkedRows(problem).length * k) };
      },
    },
  ];
}
