import type { Engine } from "../../src/engine/engine.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import type { GridCall } from "../../test/dispatch/grid.ts";
import { repeated, standardNormal } from "../inputs.ts";
import { median } from "../statistics.ts";

/** Seconds of one call on both sides, from arrays of the caller to a result in a new array: what dispatch chooses between. */
export interface BothSides {
  readonly wasmSeconds: number;
  readonly webgpuSeconds: number;
}

/** Samples of a side: at least this many, and more until the time is filled. */
const LEAST_SAMPLES = 5;
const SECONDS = 0.04;
/** A call that takes longer than this is timed once more and not again. */
const LONG_SECONDS = 0.3;

/** Numbers that all calls take their operands from: drawing new ones for a thousand calls takes longer than the calls. */
let drawn = new Float32Array(0);

function operand(shape: readonly number[]): Tensor<"f32"> {
  const count = shape.reduce((n, size) => n * size, 1);
  if (drawn.length < count) drawn = repeated(count, standardNormal(count)) as Float32Array<ArrayBuffer>;
  return { data: drawn.subarray(0, count), shape, dtype: "f32" };
}

/** Makes a call on an engine. */
export function runGridCall(engine: Engine, call: GridCall): Promise<Tensor<"f32">> {
  if (call.op !== "attention") {
    const x = operand([call.rows, call.cols]);
    return call.op === "softmax" ? engine.softmax(x) : call.op === "logSoftmax" ? engine.logSoftmax(x) : engine.logSumExp(x);
  }
  const { heads, kvHeads, queries, keys, dim, causal, windowLeft } = call;
  const [k, v] = [operand([kvHeads, keys, dim]), operand([kvHeads, keys, dim])];
  const windowSize = windowLeft === undefined ? undefined : ([windowLeft, 0] as const);
  return engine.attention(operand([heads, queries, dim]), k, v, { causal, ...(windowSize && { windowSize }) });
}

/** Times a call on both sides, in turns. Their results are compared first. */
export async function timeBothSides(wasm: Engine, webgpu: Engine, call: GridCall): Promise<BothSides> {
  const [onCpu, onGpu] = [(await runGridCall(wasm, call)).data, (await runGridCall(webgpu, call)).data];
  compare(call, onCpu, onGpu);
  const timings: [number[], number[]] = [[], []];
  let spent = 0;
  const time = async (side: 0 | 1): Promise<void> => {
    const before = performance.now();
    await runGridCall(side === 0 ? wasm : webgpu, call);
    const seconds = (performance.now() - before) / 1000;
    timings[side].push(seconds);
    spent += seconds;
  };
  // The first calls compiled; these let code and clocks settle.
  await time(0);
  await time(1);
  const isLong = spent > LONG_SECONDS;
  if (!isLong) timings.forEach((each) => each.splice(0));
  spent = 0;
  while (timings[0].length < (isLong ? 2 : LEAST_SAMPLES) || (!isLong && spent < 2 * SECONDS)) {
    await time(0);
    await time(1);
  }
  return { wasmSeconds: median(timings[0]), webgpuSeconds: median(timings[1]) };
}

/** Probabilities, and means of values of deviation 1: a thousandth apart is a wrong result, and no rounding. */
const TOLERANCE = 1e-3;

function compare(call: GridCall, onCpu: Float32Array, onGpu: Float32Array): void {
  if (onCpu.length !== onGpu.length) throw new Error(`${JSON.stringify(call)}: ${onCpu.length} numbers on the CPU, ${onGpu.length} on the GPU`);
  const step = Math.max(1, Math.floor(onCpu.length / 65536));
  for (let i = 0; i < onCpu.length; i += step) {
    const [a = NaN, b = NaN] = [onCpu[i], onGpu[i]];
    if (!(Math.abs(a - b) <= TOLERANCE * Math.max(1, Math.abs(a))))
      throw new Error(`${JSON.stringify(call)}: element ${i} is ${a} on the CPU, ${b} on the GPU`);
  }
}
