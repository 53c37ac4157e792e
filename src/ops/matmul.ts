import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planProduct } from "../backend/wasm/plans/product.ts";
import { parseF32, parseOutput } from "../calls/arguments.ts";
import type { ProductCall } from "../calls/product-call.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions } from "../errors/options.ts";
import { broadcastStrides } from "../tensor/shape.ts";
import type { Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link matmul}. */
export interface MatmulOptions {
  /** Receives the result: a tensor of its shape, or a typed array with as many elements. It must not overlap what the call reads. */
  readonly out?: TensorLike;
}

const KNOWN = new Set(["out"]);

/**
 * Matrix products: a · b for each pair of matrices, where leading dimensions broadcast. `linear` of a transposed weight is the same thing,
 * and reads the weight in place.
 *
 * @param a - [..., M, K], f32
 * @param b - [..., K, N], f32
 * @param options - see {@link MatmulOptions}
 * @returns [..., M, N]; stored in `out` if given
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for f16 and bf16,
 *   DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is written
 *
 * @example
 * ```ts
 * const a = tensor(new Float32Array([1, 2, 3, 4]), [2, 2]);
 * matmul(a, a).data; // [7, 10, 15, 22]
 * ```
 */
export function matmul(a: TensorLike, b: TensorLike, options?: MatmulOptions): Tensor<"f32"> {
  return compute(defaultRuntime(), planProduct, parseMatmul(a, b, options));
}

/** Checks the arguments of matmul. @internal */
export function parseMatmul(left: unknown, right: unknown, options: MatmulOptions = {}): ProductCall {
  checkOptions(options, KNOWN);
  const a = parseF32("a", left);
  const b = parseF32("b", right);
  const [rows, depth] = a.shape.slice(-2);
  if (rows === undefined || depth === undefined) throw new RangeError(`"a" expected a shape [..., M, K], got ${describe(a.shape)}`);
  const [inner, cols] = b.shape.slice(-2);
  if (inner !== depth || cols === undefined)
    throw new RangeError(`"b" expected a shape [..., ${depth}, N] for "a" of shape ${describe(a.shape)}, got ${describe(b.shape)}`);

  const [outerA, outerB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const rank = Math.max(outerA.length, outerB.length);
  // Where only one of them is 1 or missing, the other's size; where they contradict each other, broadcastStrides says so.
  const outer = Array.from({ length: rank }, (_, d) => {
    const [m, n] = [outerA[outerA.length - rank + d] ?? 1, outerB[outerB.length - rank + d] ?? 1];
    return m === 1 ? n : m;
  });
  const shape = [...outer, rows, cols];
  return {
    kind: "product",
    op: "matmul",
    outer,
    rows,
    cols,
    depth,
    operands: {
      a: { data: a.data, outer: broadcastStrides("a", outerA, a.strides, outer), row: a.strides.at(-2) ?? 0, depth: a.strides.at(-1) ?? 0 },
      b: { data: b.data, outer: broadcastStrides("b", outerB, b.strides, outer), row: b.strides.at(-1) ?? 0, depth: b.strides.at(-2) ?? 0 },
    },
    results: { out: { shape, dtype: "f32", out: parseOutput(options.out, shape, "f32", undefined, { a, b }) } },
  };
}
