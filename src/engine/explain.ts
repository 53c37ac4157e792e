import type { Call } from "../calls/call.ts";
import { type Work, workOf } from "../calls/work.ts";
import { isEverywhere, parseChoice, parseObject } from "../errors/options.ts";
import { takeSignal } from "../errors/signal.ts";
import { ArrayHandle, type DType, type Place } from "../tensor/array.ts";
import { elementCount, parseShape } from "../tensor/shape.ts";
import type { GpuTensor } from "../tensor/tensor.ts";
import { operationOf } from "./operations.ts";
import type { EngineOp, ExplainOptions, ExplainShapes } from "./types.ts";

/**
 * The work of a call without data: stand-ins go through the checks of a real call.
 *
 * @throws what the call would throw, and TypeError or RangeError if an argument of `explain` itself is wrong
 */
export function workOfShapes(op: EngineOp, shapes: ExplainShapes, given: ExplainOptions = {}): Work {
  const { needs, takes, parse, argumentsOf } = operationOf(op);
  const known = [...needs, ...takes];
  const byName = parseObject("shapes", shapes);
  for (const name in byName)
    if (!known.includes(name) && !isEverywhere(byName, name)) throw new TypeError(`"${name}" is no tensor of ${op}; expected ${known.join(", ")}`);

  const { place: where, dtype: what, ...options } = takeSignal(parseObject("options", given)).rest as Record<string, unknown>;
  const place = parseChoice<Place>("place", where, ["host", "gpu", "module"]);
  const dtype = parseChoice<StandInType>("dtype", what, ["f32", "f64", "f16", "bf16"]);
  const tensors: Record<string, unknown> = {};
  for (const name of needs) tensors[name] = tensorOf(parseShape(name, byName[name]), dtype, place);
  for (const name of takes) {
    if (byName[name] === undefined) continue;
    const shape = parseShape(name, byName[name]);
    // The bias of an f16 call is f32.
    options[name] = name === "mask" ? standIn(shape, "u8") : tensorOf(shape, dtype === "f64" ? "f64" : "f32", place);
  }
  const args = argumentsOf?.(tensors, options) ?? [...needs.map((name) => tensors[name]), options];
  const call = (parse as (...args: readonly unknown[]) => Call)(...args);
  const { x } = call.operands;
  // The stand-in for f64 is too small.
  const sized = x === undefined ? call : { ...call, operands: { ...call.operands, x: { ...x, data: numbers(byName["x"] as readonly number[], dtype) } } };
  return workOf(sized, place);
}

const NO_BUFFER = { size: Number.MAX_SAFE_INTEGER, usage: 0, mapState: "unmapped" } as const;

/** The dtypes that `explain` knows. */
type StandInType = Exclude<ExplainOptions["dtype"], undefined>;

/** A tensor with a shape but no numbers, for a call that is only explained. Shapes and options are checked as in a real call. */
export function standIn<D extends "f32" | "f16" | "u8">(shape: readonly number[], dtype: D): GpuTensor<D> {
  return { buffer: NO_BUFFER, shape, dtype };
}

function numbers(shape: readonly number[], dtype: DType): ArrayHandle {
  return ArrayHandle.onGpu(NO_BUFFER, dtype, 0, elementCount(shape));
}

function tensorOf(shape: readonly number[], dtype: StandInType, place: Place): unknown {
  // No GPU has f64 or bf16, so their stand-in is an array of one element that repeats.
  const one = dtype === "f64" ? new Float64Array(1) : dtype === "bf16" ? new Uint16Array(1) : undefined;
  if (one !== undefined && place !== "gpu") return { data: one, shape, dtype, strides: shape.map(() => 0) };
  return standIn(shape, dtype as "f32" | "f16");
}
