import type { Call } from "../calls/call.ts";
import { describe } from "../errors/errors.ts";
import { parseCount } from "../errors/options.ts";
import { parseRotary } from "../ops/apply-rotary.ts";
import { parseAttentionScores } from "../ops/attention-scores.ts";
import { parseAttentionVarlen } from "../ops/attention-varlen.ts";
import { parseAttention } from "../ops/attention.ts";
import { parseCrossEntropy } from "../ops/cross-entropy.ts";
import { parseLogSoftmax } from "../ops/log-softmax.ts";
import { parseLogSumExp } from "../ops/log-sum-exp.ts";
import { parseLinear } from "../ops/linear.ts";
import { parseMatmul } from "../ops/matmul.ts";
import { parseMergeStates } from "../ops/merge-states.ts";
import { parseSample } from "../ops/sample.ts";
import { parseSoftmax } from "../ops/softmax.ts";
import { parseTopK } from "../ops/top-k.ts";
import { parseTopKSoftmax } from "../ops/top-k-softmax.ts";
import { elementCount } from "../tensor/shape.ts";
import type { EngineOp } from "./types.ts";

/** An operation of engines. The kind of its calls decides its work and how each backend computes it. */
interface Operation {
  /** Checks the arguments: tensors, then options. */
  readonly parse: (...args: never[]) => Call;
  /** The tensors whose shapes `explain` needs, and the optional ones that it accepts. */
  readonly needs: readonly string[];
  readonly takes: readonly string[];
  /** The arguments that `explain` passes to `parse`, if they are not these tensors and the options. */
  readonly argumentsOf?: (tensors: Readonly<Record<string, unknown>>, options: Readonly<Record<string, unknown>>) => readonly unknown[];
}

const ROWS = { needs: ["x"], takes: ["bias", "mask"] } as const;

/** The operations, by the plain functions' names. */
export const OPERATIONS = {
  softmax: { ...ROWS, parse: parseSoftmax },
  logSoftmax: { ...ROWS, parse: parseLogSoftmax },
  logSumExp: { ...ROWS, parse: parseLogSumExp },
  attention: { needs: ["q", "k", "v"], takes: ["bias", "mask"], parse: parseAttention },
  attentionVarlen: { needs: ["q", "k", "v"], takes: [], parse: parseAttentionVarlen },
  attentionScores: { needs: ["q", "k"], takes: ["bias", "mask"], parse: parseAttentionScores },
  applyRotary: { needs: ["x"], takes: [], parse: parseRotary },
  mergeStates: {
    needs: ["out", "lse"],
    takes: [],
    parse: parseMergeStates,
    argumentsOf: ({ out, lse }, { parts = 2, ...options }) => [new Array(parseCount("parts", parts, 1)).fill({ out, lse }), options],
  },
  topK: { needs: ["x"], takes: [], parse: parseTopK, argumentsOf: ({ x }, { k, ...options }) => [x, k, options] },
  topKSoftmax: { needs: ["logits"], takes: [], parse: parseTopKSoftmax, argumentsOf: ({ logits }, { k, ...options }) => [logits, k, options] },
  linear: { needs: ["x", "weight"], takes: ["bias"], parse: parseLinear },
  matmul: { needs: ["a", "b"], takes: [], parse: parseMatmul },
  sample: { needs: ["logits"], takes: [], parse: parseSample },
  crossEntropy: {
    needs: ["logits"],
    takes: [],
    parse: parseCrossEntropy,
    // Which targets they are makes no difference; `explain` counts all of them.
    argumentsOf: ({ logits }, { targets, ...options }) => [logits, targets ?? targetsFor(logits as { readonly shape?: readonly number[] }, options), options],
  },
} as const satisfies Readonly<Record<EngineOp, Operation>>;

/** Checks the arguments of an operation. */
export function parseCall(op: EngineOp, ...args: readonly unknown[]): Call {
  return (OPERATIONS[op].parse as (...args: readonly unknown[]) => Call)(...args);
}

/** Finds an operation by name. */
export function operationOf(op: unknown): Operation {
  if (typeof op !== "string" || !Object.hasOwn(OPERATIONS, op)) throw new RangeError(`"op" expected the name of an operation, got ${describe(op)}`);
  return OPERATIONS[op as EngineOp];
}

/** A target for each row of logits that `explain` has only the shape of. */
function targetsFor({ shape = [] }: { readonly shape?: readonly number[] }, { axis = -1 }: Readonly<Record<string, unknown>>): Int32Array {
  return new Int32Array(elementCount(shape) / (shape.at(axis as number) ?? 1));
}
