import { compute } from "../backend/wasm/drivers/compute.ts";
import { defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planProduct } from "../backend/wasm/plans/product.ts";
import { parseF32, parseOutput } from "../calls/arguments.ts";
import type { ProductCall } from "../calls/product-call.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions } from "../errors/options.ts";
import type { Tensor, TensorLike } from "../tensor/tensor.ts";

/** Options of {@link linear}. */
export interface LinearOptions {
  /** Added to each row of the result: [N], f32. */
  readonly bias?: TensorLike;
  /** Receives the result: a tensor of its shape, or a typed array with as many elements. It must not overlap what the call reads. */
  readonly out?: TensorLike;
}

const KNOWN = new Set(["bias", "out"]);

/**
 * A linear layer: x · weightᵀ + bias, the other half of a transformer. Sums are in f32. A result's bits do not depend on the other rows of
 * the call.
 *
 * @param x - [..., K], f32, any leading dimensions
 * @param weight - [N, K], one row for each output feature, as in PyTorch
 * @param options - see {@link LinearOptions}
 * @returns [..., N]; stored in `out` if given
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for f16 and bf16,
 *   DisposedError if a tensor has been disposed, BackendError if memory runs out. On error nothing is written
 *
 * @example
 * ```ts
 * const weight = tensor(new Float32Array([1, 0, 0, 1, 1, 1]), [3, 2]);
 * linear(new Float32Array([2, 5]), weight, { bias: new Float32Array([0, 0, 1]) }).data; // [2, 5, 8]
 * ```
 */
export function linear(x: TensorLike, weight: TensorLike, options?: LinearOptions): Tensor<"f32"> {
  return compute(defaultRuntime(), planProduct, parseLinear(x, weight, options));
}

/** Checks the arguments of linear. @internal */
export function parseLinear(input: unknown, matrix: unknown, options: LinearOptions = {}): ProductCall {
  checkOptions(options, KNOWN);
  const x = parseF32("x", input);
  const weight = parseF32("weight", matrix);
  const depth = x.shape.at(-1);
  if (depth === undefined) throw new RangeError(`"x" expected a shape [..., K], got ${describe(x.shape)}`);
  const [cols, inner] = weight.shape;
  if (weight.shape.length !== 2 || cols === undefined || inner !== depth)
    throw new RangeError(`"weight" expected a shape [N, ${depth}] for "x" of shape ${describe(x.shape)}, got ${describe(weight.shape)}`);
  const bias = options.bias === undefined ? undefined : parseF32("bias", options.bias);
  if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== cols))
    throw new RangeError(`"bias" expected shape [${cols}], got ${describe(bias.shape)}`);

  const lead = x.shape.slice(0, -1);
  const outer = lead.slice(0, -1);
  const shape = [...lead, cols];
  return {
    kind: "product",
    op: "linear",
    outer,
    rows: lead.at(-1) ?? 1,
    cols,
    depth,
    operands: {
      x: { data: x.data, outer: x.strides.slice(0, outer.length), row: lead.length === 0 ? 0 : (x.strides.at(-2) ?? 0), depth: x.strides.at(-1) ?? 0 },
      weight: { data: weight.data, outer: outer.map(() => 0), row: weight.strides[0] ?? 0, depth: weight.strides[1] ?? 0 },
      bias: bias && { data: bias.data, stride: bias.strides[0] ?? 0 },
    },
    results: { out: { shape, dtype: "f32", out: parseOutput(options.out, shape, "f32", undefined, { x, weight, bias }) } },
  };
}
