import type { Engine, ModuleTensor, ScoreOptions, SoftmaxAlgorithm, Tensor, TensorLike } from "../../src/index.ts";
import type { Instance } from "../../src/testing/testing.ts";
import { countOf } from "../../test/reference/indices.ts";
import type { Contender, Runner } from "../measure/contender.ts";
import type { Problem } from "../measure/problem.ts";
import { toleranceOf } from "../measure/verify.ts";

/** What an instance, an engine and a recording have in common, as far as the benchmark uses it. */
export interface Operations {
  softmax(x: TensorLike, options?: object): unknown;
  logSoftmax(x: TensorLike, options?: object): unknown;
  logSumExp(x: TensorLike, options?: object): unknown;
  attention(q: TensorLike, k: TensorLike, v: TensorLike, options?: object): unknown;
  /** Absent from recordings. */
  linear?(x: TensorLike, weight: TensorLike, options?: object): unknown;
}

/** What tensors in WebAssembly memory are made by. */
export type Host = Instance | Engine;

/** Options beyond the problem's own. */
export interface CallOptions extends Pick<ScoreOptions, "bias"> {
  readonly out?: unknown;
  readonly algorithm?: SoftmaxAlgorithm;
}

/** The problem's call, ready to be made: operands and result are wherever they are given. */
export function callOn(host: Operations, { call, options: own }: Problem, [a, b, c]: readonly TensorLike[], given: CallOptions = {}): () => unknown {
  const options = { ...own, ...given };
  if (a === undefined) throw new Error("a call has an operand");
  if (call.op === "softmax") return () => host.softmax(a, options);
  if (call.op === "logSoftmax") return () => host.logSoftmax(a, options);
  if (call.op === "logSumExp") return () => host.logSumExp(a, options);
  if (call.op === "linear") return () => host.linear?.(a, b ?? a, given);
  return () => host.attention(a, b ?? a, c ?? a, options);
}

/** A way to run a problem on an instance or an engine of the CPU. */
export type Place = (host: Host, problem: Problem, options?: CallOptions) => Runner;

/** Operands and output are arrays of the caller's, parts of which each call copies. */
export const onArrays: Place = (host, problem, given) => {
  const out: Tensor<"f32"> = { data: new Float32Array(countOf(problem.outShape)), shape: problem.outShape, dtype: "f32" };
  return { run: callOn(host, problem, problem.operands, { ...given, out }), read: () => out.data, clear: () => out.data.fill(NaN) };
};

/** Operands, bias and output are in the memory of the kernels, which use them in place. A mask stays outside: `empty` makes no bytes. */
export const inMemory: Place = (host, problem, given) => {
  const { operands, options, outShape } = problem;
  const borrowed = operands.map((operand) => borrow(host, operand, operand.shape, operand.data));
  const bias = options.bias === undefined ? [] : [borrow(host, options.bias, (options.bias as Tensor).shape, (options.bias as Tensor<"f32">).data)];
  const out = borrow(host, problem, outShape);
  const tensors = borrowed.map(({ tensor }) => tensor);
  return {
    run: callOn(host, problem, tensors, { ...given, out: out.tensor, ...(bias[0] && { bias: bias[0].tensor }) }),
    // A copy: the memory may be shared, and grow.
    read: () => out.tensor.data.slice(),
    clear: () => out.tensor.data.fill(NaN),
    dispose() {
      for (const { release } of [...borrowed, ...bias, out]) release();
    },
  };
};

interface Shared {
  readonly tensor: ModuleTensor<"f32">;
  users: number;
}

const shared = new WeakMap<Host, Map<unknown, Shared>>();

/**
 * The tensor of a host that belongs to `key`: made for the first contender that asks, with the content given, and freed by the last.
 * All contenders compute in the same place: what differs between them is the kernel, and not which pages of memory they happened to get.
 */
function borrow(host: Host, key: unknown, shape: readonly number[], content?: Float32Array) {
  const all = shared.get(host) ?? new Map<unknown, Shared>();
  shared.set(host, all);
  const entry = all.get(key) ?? { tensor: host.empty(shape) as ModuleTensor<"f32">, users: 0 };
  all.set(key, entry);
  if (entry.users++ === 0 && content !== undefined) entry.tensor.data.set(content);
  return {
    tensor: entry.tensor,
    release: () => {
      if (--entry.users > 0) return;
      entry.tensor.dispose();
      all.delete(key);
    },
  };
}

/** A binary, or an engine, that computes at a place. */
export function onepass(host: Host, name: string, place: Place, options?: CallOptions): Contender {
  return {
    name,
    group: "onepass",
    variant: "variant" in host ? host.variant : host.info().wasm.variant,
    tolerance: (problem) => toleranceOf(problem, "wasm"),
    prepare: (problem) => place(host, problem, options),
  };
}

/** Every binary with tensors in its memory, then the first one on arrays of the caller's. */
export function onEachBinary(instances: readonly Instance[], name: string, withArrays = true): readonly Contender[] {
  return [
    ...instances.map((instance, i) => ({ ...onepass(instance, name, inMemory), lead: i === 0 })),
    ...instances.slice(0, withArrays ? 1 : 0).map((instance) => onepass(instance, `${name}, plain arrays`, onArrays)),
  ];
}
