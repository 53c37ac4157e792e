import { parseAttention } from "../../src/ops/attention.ts";
import { parseAttentionScores } from "../../src/ops/attention-scores.ts";
import { parseAttentionVarlen } from "../../src/ops/attention-varlen.ts";
import type { Cpu } from "../../src/backend/wasm/drivers/cpu.ts";
import { type CpuOptions, createCpu } from "../../src/backend/wasm/drivers/create-cpu.ts";
import type { Tuning } from "../../src/backend/wasm/plans/schedule.ts";
import { emptyOn } from "../../src/ops/empty.ts";
import { parseLinear } from "../../src/ops/linear.ts";
import { parseMatmul } from "../../src/ops/matmul.ts";
import { parseMergeStates } from "../../src/ops/merge-states.ts";
import { parseLogSoftmax } from "../../src/ops/log-softmax.ts";
import { parseLogSumExp } from "../../src/ops/log-sum-exp.ts";
import { parseCrossEntropy } from "../../src/ops/cross-entropy.ts";
import { parseSample } from "../../src/ops/sample.ts";
import { parseSoftmax } from "../../src/ops/softmax.ts";
import { parseTopK } from "../../src/ops/top-k.ts";
import { parseTopKSoftmax } from "../../src/ops/top-k-softmax.ts";
import { type Subject, keepInModule } from "./subjects.ts";

/** Shares whatever can be cut, however short, and cuts it as finely as possible, so that small cases exercise threads at all. */
export const FINEST: Tuning = { jobNs: 0, taskNs: 0.001, copyNs: 0, tasksPerThread: Infinity, share: Infinity, blocksPerThread: Infinity };

/** Shares whatever can be cut, into few tasks. */
export const COARSE: Tuning = { jobNs: 0, taskNs: 0.001, copyNs: 0, tasksPerThread: 1, share: 1, blocksPerThread: Infinity };

/** The CPU backend with `threads` threads; throws if it cannot have them. */
export async function startCpu(threads: number, options: CpuOptions = {}): Promise<Cpu> {
  const cpu = await createCpu({ threads, tuning: FINEST, ...options });
  if (cpu.threads !== threads) throw new Error(`${threads} threads asked for, ${cpu.threads} had: ${cpu.reasons.join("; ")}`);
  return cpu;
}

/** The operations of a CPU backend, for suites. */
export function subjectOfCpu(cpu: Cpu): Subject {
  return {
    name: `${cpu.variant}, ${cpu.threads} threads`,
    kind: "wasm",
    homes: ["array", "module"],
    dtypes: ["f32", "f64"],
    propagates: true,
    denormals: true,
    softmax: (x, options) => cpu.run(parseSoftmax(x, options)),
    logSoftmax: (x, options) => cpu.run(parseLogSoftmax(x, options)),
    logSumExp: (x, options) => cpu.run(parseLogSumExp(x, options)),
    attention: ((...args: Parameters<typeof parseAttention>) => cpu.run(parseAttention(...args))) as Subject["attention"],
    attentionVarlen: (q, k, v, options) => cpu.run(parseAttentionVarlen(q, k, v, options)),
    attentionScores: (q, k, options) => cpu.run(parseAttentionScores(q, k, options)),
    mergeStates: (parts, options) => cpu.run(parseMergeStates(parts, options)),
    linear: (...args) => cpu.run(parseLinear(...args)),
    matmul: (...args) => cpu.run(parseMatmul(...args)),
    topK: ((...args: Parameters<typeof parseTopK>) => cpu.run(parseTopK(...args))) as Subject["topK"],
    topKSoftmax: ((...args: Parameters<typeof parseTopKSoftmax>) => cpu.run(parseTopKSoftmax(...args))) as Subject["topKSoftmax"],
    sample: ((...args: Parameters<typeof parseSample>) => cpu.run(parseSample(...args))) as Subject["sample"],
    crossEntropy: ((...args: Parameters<typeof parseCrossEntropy>) => cpu.run(parseCrossEntropy(...args))) as Subject["crossEntropy"],
    keep: (data) => keepInModule({ empty: (shape, options) => emptyOn(cpu.runtime, shape, options) }, data),
    usedBytes: () => cpu.runtime.memory.usedBytes,
    read: ({ data }) => data.slice(),
  };
}
