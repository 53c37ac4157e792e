import { parseAttention } from "../ops/attention.ts";
import { parseAttentionScores } from "../ops/attention-scores.ts";
import { type AttentionVarlenOptions, parseAttentionVarlen } from "../ops/attention-varlen.ts";
import type { EngineOp } from "./types.ts";
import { describe } from "../errors/errors.ts";
import { parseLogSoftmax } from "../ops/log-softmax.ts";
import { parseLogSumExp } from "../ops/log-sum-exp.ts";
import { parseMergeStates } from "../ops/merge-states.ts";
import { parseChoice, parseObject } from "../errors/options.ts";
import { parseShape } from "../tensor/shape.ts";
import { takeSignal } from "../errors/signal.ts";
import { parseSoftmax } from "../ops/softmax.ts";
import type { Place } from "../tensor/tensor.ts";
import { type Assumed, type Work, attentionWork, mergeWork, rowWork, scoresWork, standIn } from "../calls/work.ts";

type Options = Readonly<Record<string, unknown>>;

/** How an operation is explained: which tensors it has (the optional ones are options), and the work of a call with stand-ins for them. */
interface Explained {
  readonly needs: readonly string[];
  readonly takes: readonly string[];
  readonly workOf: (tensors: Options, options: Options, assumed: Assumed) => Work;
}

const MODIFIERS = ["bias", "mask"];

const OPERATIONS: ReadonlyMap<unknown, Explained> = new Map<EngineOp, Explained>([
  ["softmax", { needs: ["x"], takes: MODIFIERS, workOf: ({ x }, options, assumed) => rowWork(parseSoftmax(x, options), assumed) }],
  ["logSoftmax", { needs: ["x"], takes: MODIFIERS, workOf: ({ x }, options, assumed) => rowWork(parseLogSoftmax(x, options), assumed) }],
  ["logSumExp", { needs: ["x"], takes: MODIFIERS, workOf: ({ x }, options, assumed) => rowWork(parseLogSumExp(x, options), assumed) }],
  [
    "attention",
    { needs: ["q", "k", "v"], takes: MODIFIERS, workOf: ({ q, k, v }, options, assumed) => attentionWork(parseAttention(q, k, v, options), assumed) },
  ],
  [
    "attentionVarlen",
    {
      needs: ["q", "k", "v"],
      takes: [],
      workOf: ({ q, k, v }, options, assumed) => attentionWork(parseAttentionVarlen(q, k, v, options as unknown as AttentionVarlenOptions), assumed),
    },
  ],
  [
    "attentionScores",
    { needs: ["q", "k"], takes: MODIFIERS, workOf: ({ q, k }, options, assumed) => scoresWork(parseAttentionScores(q, k, options), assumed) },
  ],
  [
    "mergeStates",
    {
      needs: ["out", "lse"],
      takes: [],
      workOf: ({ out, lse }, { parts = 2, ...options }, assumed) =>
        mergeWork(parseMergeStates(new Array(parsePositive("parts", parts)).fill({ out, lse }), options), assumed),
    },
  ],
]);

/**
 * The work of a call without data: stand-ins go through the checks of a real one.
 *
 * @throws what the call would throw, and TypeError or RangeError if an argument of `explain` itself is wrong
 */
export function workOf(op: EngineOp, shapes: unknown, given: unknown = {}): Work {
  const operation = OPERATIONS.get(op);
  if (operation === undefined) throw new RangeError(`"op" expected the name of an operation, got ${describe(op)}`);
  const { needs, takes } = operation;
  const known = [...needs, ...takes];
  const byName = parseObject("shapes", shapes);
  for (const name in byName) if (!known.includes(name)) throw new TypeError(`"${name}" is no tensor of ${op}; expected ${known.join(", ")}`);

  const { place: where, dtype: what, ...options } = takeSignal(parseObject("options", given)).rest as Record<string, unknown>;
  const place = parseChoice<Place>("place", where, ["host", "gpu"]);
  const dtype = parseChoice<"f32" | "f64" | "f16">("dtype", what, ["f32", "f64", "f16"]);
  const tensors: Record<string, unknown> = {};
  for (const name of needs) tensors[name] = tensorOf(parseShape(name, byName[name]), dtype, place);
  for (const name of takes) {
    if (byName[name] === undefined) continue;
    const shape = parseShape(name, byName[name]);
    // To halves, floats are added.
    options[name] = name === "mask" ? standIn(shape, "u8") : tensorOf(shape, dtype === "f64" ? "f64" : "f32", place);
  }
  return operation.workOf(tensors, options, { place, ...(dtype === "f64" && { dtype }) });
}

/** A tensor without numbers. */
function tensorOf(shape: readonly number[], dtype: "f32" | "f64" | "f16", place: Place): unknown {
  // Of f64, which no GPU has, an array of one element that repeats.
  if (dtype === "f64" && place === "host") return { data: new Float64Array(1), shape, strides: shape.map(() => 0) };
  return standIn(shape, dtype as "f32" | "f16");
}

function parsePositive(name: string, value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`"${name}" expected a positive integer, got ${describe(value)}`);
  return value;
}
