import type { Instance } from "../../src/testing/testing.ts";
import type { ModuleTensor } from "../../src/ops/empty.ts";
import type { Rows } from "../inputs.ts";

/** An input and an output in module memory. */
export interface ModuleTensors {
  readonly x: ModuleTensor<"f32">;
  readonly y: ModuleTensor<"f32">;
  readonly release: () => void;
}

/** A tensor in module memory that is freed when its last user releases it. */
export interface Borrowed {
  readonly tensor: ModuleTensor<"f32">;
  readonly release: () => void;
}

interface Shared {
  readonly tensor: ModuleTensor<"f32">;
  users: number;
}

const shared = new WeakMap<Instance, Map<object, Shared>>();

/**
 * The tensors for one input, made for the first contender that asks and freed by the last. All contenders of an instance
 * compute in the same place: what differs between them is the kernel, and not which pages of memory they happened to get.
 */
export function borrowTensors(instance: Instance, input: Rows, outShape: readonly number[]): ModuleTensors {
  const x = borrow(instance, input.x, [input.rows, input.cols], input.x);
  const y = borrow(instance, input, outShape);
  return {
    x: x.tensor,
    y: y.tensor,
    release: () => {
      x.release();
      y.release();
    },
  };
}

/** The tensor of an instance that belongs to `key`; the first to ask makes it, with the content given. */
export function borrow(instance: Instance, key: object, shape: readonly number[], content?: Float32Array): Borrowed {
  const all = shared.get(instance) ?? new Map<object, Shared>();
  shared.set(instance, all);
  const entry = all.get(key) ?? { tensor: instance.empty(shape), users: 0 };
  all.set(key, entry);
  if (entry.users === 0 && content !== undefined) entry.tensor.data.set(content);
  entry.users++;
  return {
    tensor: entry.tensor,
    release: () => {
      entry.users--;
      if (entry.users > 0) return;
      entry.tensor.dispose();
      all.delete(key);
    },
  };
}
