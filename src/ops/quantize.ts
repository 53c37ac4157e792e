import { copyIn } from "../backend/wasm/plans/copies.ts";
import { ROWS } from "../backend/wasm/module/rows-family.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { checkHost, parseF32 } from "../calls/arguments.ts";
import { copyDimsOf } from "../tensor/copy-strided.ts";
import { contiguousStrides, elementCount } from "../tensor/shape.ts";
import type { QuantizedTensor, TensorLike } from "../tensor/tensor.ts";

/**
 * Stores a tensor in 8 bits, with a scale for each row of the last dimension: scale = max|row| / 127, number = value / scale, rounded to
 * nearest even. A row of zeros has scale 0.
 *
 * @param x - f32, f16, bf16 or i8 with scales, at least one dimension
 * @returns a new tensor of the same shape, which every operation takes
 * @throws TypeError if `x` is not that, RangeError if a row has NaN or infinity, DisposedError if `x` has been disposed
 *
 * @example
 * ```ts
 * const q = quantize(new Float32Array([1, -0.5, 0]));
 * q.data; // [127, -64, 0]
 * q.scales; // [0.0079]
 * ```
 */
export function quantize(x: TensorLike): QuantizedTensor {
  return quantizeOn(defaultRuntime(), x);
}

/** The same with the kernels of a given runtime. @internal */
export function quantizeOn(runtime: Runtime, x: TensorLike): QuantizedTensor {
  const { data, shape, strides } = parseF32("x", x);
  checkHost("x", data);
  const cols = shape.at(-1);
  if (cols === undefined) throw new RangeError(`"x" expected at least one dimension, got a scalar`);
  const rows = elementCount(shape.slice(0, -1));
  const result = { data: new Int8Array(rows * cols), scales: new Float32Array(rows), shape, dtype: "i8" } as const;
  const { memory } = runtime;
  const mark = memory.mark();
  try {
    const address = memory.take(rows * cols * 4);
    const scales = memory.take(rows * 4);
    copyIn(runtime, { array: data, at: 0, address, dims: copyDimsOf(shape, strides, contiguousStrides(shape)), columns: 0 });
    runtime.load(ROWS).i8_from_f32(address, address, rows, cols, scales);
    result.data.set(memory.i8.subarray(address, address + rows * cols));
    result.scales.set(memory.f32.subarray(scales / 4, scales / 4 + rows));
  } finally {
    memory.release(mark);
  }
  const bad = result.scales.findIndex((scale) => !Number.isFinite(scale));
  if (bad >= 0) throw new RangeError(`"x" expected finite numbers, but row ${bad} has NaN or infinity`);
  return result;
}
