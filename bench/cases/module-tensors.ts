import type { Instance } from "../../src/testing.ts";
import type { ModuleTensor } from "../../src/empty.ts";
import type { Rows } from "../inputs.ts";

/** An input and an output in module memory. */
export interface ModuleTensors {
  readonly x: ModuleTensor<"f32">;
  readonly y: ModuleTensor<"f32">;
  readonly release: () => void;
}

interface Shared {
  readonly x: ModuleTensor<"f32">;
  readonly y: ModuleTensor<"f32">;
  users: number;
}

const shared = new WeakMap<Instance, Map<Rows, Shared>>();

/**
 * The tensors for one input, made for the first contender that asks and freed by the last. All contenders of an instance
 * compute in the same place: what differs between them is the kernel, and not which pages of memory they happened to get.
 */
export function borrowTensors(instance: Instance, input: Rows, outShape: readonly number[]): ModuleTensors {
  const all = shared.get(instance) ?? new Map<Rows, Shared>();
  shared.set(instance, all);
  const tensors = all.get(input) ?? { x: instance.empty([input.rows, input.cols]), y: instance.empty(outShape), users: 0 };
  all.set(input, tensors);
  if (tensors.users === 0) tensors.x.data.set(input.x);
  tensors.users++;
  return {
    x: tensors.x,
    y: tensors.y,
    release: () => {
      tensors.users--;
      if (tensors.users > 0) return;
      tensors.x.dispose();
      tensors.y.dispose();
      all.delete(input);
    },
  };
}
