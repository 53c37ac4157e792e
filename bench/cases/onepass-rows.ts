import type { SoftmaxAlgorithm } from "../../src/calls/row-call.ts";
import type { Instance } from "../../src/testing/testing.ts";
import type { Context } from "../context.ts";
import type { Contender, Runner } from "../contender.ts";
import type { Rows } from "../inputs.ts";
import type { Tensor, TensorLike } from "../../src/tensor/tensor.ts";
import { ownTolerance } from "../verify.ts";
import { borrowTensors } from "./module-tensors.ts";

/** A row operation of onepass with all options but `out` given. */
export type RowCall = (instance: Instance, x: TensorLike, out: TensorLike) => unknown;

/** `call` with input and output in module memory, where kernels use them in place. */
export function inModule(instance: Instance, call: RowCall, outShape: (input: Rows) => readonly number[]): (input: Rows) => Runner {
  return (input) => {
    const { x, y, release } = borrowTensors(instance, input, outShape(input));
    return { run: () => call(instance, x, y), read: () => y.data, clear: () => y.data.fill(NaN), dispose: release };
  };
}

/** `call` on plain arrays of the caller: copied into module memory and out again by each call. */
export function onPlainArrays(instance: Instance, call: RowCall, outShape: (input: Rows) => readonly number[]): (input: Rows) => Runner {
  return (input) => {
    const x: Tensor<"f32"> = { data: input.x, shape: [input.rows, input.cols], dtype: "f32" };
    const shape = outShape(input);
    const out: Tensor<"f32"> = { data: new Float32Array(shape.reduce((n, size) => n * size, 1)), shape, dtype: "f32" };
    return { run: () => call(instance, x, out), read: () => out.data, clear: () => out.data.fill(NaN) };
  };
}

const ALGORITHMS: readonly SoftmaxAlgorithm[] = ["standard", "safe", "online", "auto"];

const sameShape = ({ rows, cols }: Rows): readonly number[] => [rows, cols];

/** Softmax by every algorithm in every binary, then `auto` on plain arrays. */
export function softmaxContenders({ instances }: Context): readonly Contender<Rows>[] {
  const all = instances.flatMap((instance) =>
    ALGORITHMS.map((algorithm): Contender<Rows> => ({
      name: algorithm,
      group: "onepass",
      variant: instance.variant,
      lead: algorithm === "auto" && instance === instances[0],
      whenHot: algorithm === "standard" ? "overflow" : "right",
      tolerance: ownTolerance,
      prepare: inModule(instance, (on, x, out) => on.softmax(x, { algorithm, out }), sameShape),
    })),
  );
  return [...all, ...instances.slice(0, 1).map(plainArrays)];
}

/** `auto` on arrays of the caller. */
function plainArrays(instance: Instance): Contender<Rows> {
  return {
    name: "auto, plain arrays",
    group: "onepass",
    variant: instance.variant,
    tolerance: ownTolerance,
    prepare: onPlainArrays(instance, (on, x, out) => on.softmax(x, { out }), sameShape),
  };
}
