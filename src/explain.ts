import { parseAttention } from "./attention.ts";
import { parseAttentionScores } from "./attention-scores.ts";
import { type AttentionVarlenOptions, parseAttentionVarlen } from "./attention-varlen.ts";
import type { EngineOp } from "./engine-types.ts";
import { describe } from "./errors.ts";
import { parseLogSoftmax } from "./log-softmax.ts";
import { parseLogSumExp } from "./log-sum-exp.ts";
import { parseShape } from "./shape.ts";
import { parseSoftmax } from "./softmax.ts";
import type { GpuTensor } from "./tensor.ts";
import { type Assumed, type Work, attentionWork, rowWork, scoresWork, standIn } from "./work.ts";

/** The work of a call without data: stand-ins go through the checks of a real one. */
export function workOf(op: EngineOp, shapes: Readonly<Record<string, readonly number[]>>, options: Record<string, unknown>, assumed: Assumed): Work {
  const of = (name: string): GpuTensor => standIn(parseShape(name, shapes[name]), "f32");
  const extra: Record<string, unknown> = { ...options };
  if (shapes["bias"] !== undefined) extra["bias"] = of("bias");
  if (shapes["mask"] !== undefined) extra["mask"] = standIn(parseShape("mask", shapes["mask"]), "u8");
  switch (op) {
    case "softmax":
      return rowWork(parseSoftmax(of("x"), extra), assumed);
    case "logSoftmax":
      return rowWork(parseLogSoftmax(of("x"), extra), assumed);
    case "logSumExp":
      return rowWork(parseLogSumExp(of("x"), extra), assumed);
    case "attention":
      return attentionWork(parseAttention(of("q"), of("k"), of("v"), extra), assumed);
    case "attentionVarlen":
      return attentionWork(parseAttentionVarlen(of("q"), of("k"), of("v"), extra as unknown as AttentionVarlenOptions), assumed);
    case "attentionScores":
      return scoresWork(parseAttentionScores(of("q"), of("k"), extra), assumed);
    default:
      throw new RangeError(`"op" expected the name of an operation, got ${describe(op satisfies never)}`);
  }
}
