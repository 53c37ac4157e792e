import type { ScoreOptions } from "../../src/calls/attention-arguments.ts";
import type { Instance } from "../../src/testing/testing.ts";
import type { Tensor, TensorLike } from "../../src/tensor/tensor.ts";
import type { Context } from "../context.ts";
import type { Contender, Runner } from "../contender.ts";
import type { AttentionInput } from "../heads.ts";
import { ownAttentionTolerance } from "../verify.ts";
import { borrow } from "./module-tensors.ts";

/** Each binary with tensors in module memory, then the first one on arrays of the caller. */
export function attentionContenders({ instances }: Context): readonly Contender<AttentionInput>[] {
  const contender = (instance: Instance, name: string, lead: boolean, prepare: (input: AttentionInput) => Runner): Contender<AttentionInput> => ({
    ...{ name, group: "onepass", variant: instance.variant, lead },
    tolerance: ownAttentionTolerance,
    prepare,
  });
  return [
    ...instances.map((instance, i) => contender(instance, "attention", i === 0, (input) => inModule(instance, input))),
    ...instances.slice(0, 1).map((instance) => contender(instance, "attention, plain arrays", false, (input) => onPlainArrays(instance, input))),
  ];
}

/** Queries, keys, values, bias and output in module memory, where kernels use them in place. A mask stays outside: `empty` makes no bytes. */
function inModule(instance: Instance, input: AttentionInput): Runner {
  const { heads, kvHeads, queries, keys, dim, bias } = input;
  const q = borrow(instance, input.q, [heads, queries, dim], input.q);
  const k = borrow(instance, input.k, [kvHeads, keys, dim], input.k);
  const v = borrow(instance, input.v, [kvHeads, keys, dim], input.v);
  const biases = bias === undefined ? [] : [borrow(instance, bias, [queries, keys], bias)];
  const out = instance.empty([heads, queries, dim]);
  const options = { ...optionsOf(input, biases[0]?.tensor), out };
  return {
    run: () => instance.attention(q.tensor, k.tensor, v.tensor, options),
    read: () => out.data,
    clear: () => out.data.fill(NaN),
    dispose() {
      for (const { release } of [q, k, v, ...biases]) release();
      out.dispose();
    },
  };
}

/** Arrays of the caller: each call copies what it needs of them, head by head. */
function onPlainArrays(instance: Instance, input: AttentionInput): Runner {
  const { heads, kvHeads, queries, keys, dim } = input;
  const tensor = (data: Float32Array, ...shape: readonly number[]): Tensor<"f32"> => ({ data, shape, dtype: "f32" });
  const [q, k, v] = [tensor(input.q, heads, queries, dim), tensor(input.k, kvHeads, keys, dim), tensor(input.v, kvHeads, keys, dim)];
  const out = tensor(new Float32Array(input.q.length), heads, queries, dim);
  const options = { ...optionsOf(input, input.bias && tensor(input.bias, queries, keys)), out };
  return { run: () => instance.attention(q, k, v, options), read: () => out.data, clear: () => out.data.fill(NaN) };
}

/** The library's options for an input. */
export function optionsOf({ modifiers, queries, keys, mask, slopes }: AttentionInput, bias: TensorLike | undefined): ScoreOptions {
  const { causal, windowSize, softcap } = modifiers;
  return { causal, windowSize, softcap, bias, mask: mask && { data: mask, shape: [queries, keys] }, alibiSlopes: slopes };
}
