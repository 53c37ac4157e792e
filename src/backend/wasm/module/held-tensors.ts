import type { Replace } from "../../../calls/map-call.ts";
import { DeviceArray } from "../../../tensor/tensor.ts";
import type { ModuleMemory } from "./memory.ts";

/** Tensors for later: what lies in module memory is looked at anew each time, as growth detaches views. */
export function holdIn(memory: ModuleMemory): Replace {
  return (tensor) => {
    const { data } = tensor;
    if (data instanceof DeviceArray || memory.addressOf(data) < 0) return tensor;
    // Growth leaves views of shared memory as they are.
    if (!(data.buffer instanceof ArrayBuffer)) return tensor;
    const held = memory.hold(data);
    return {
      ...tensor,
      get data() {
        return held();
      },
    };
  };
}

/** Tensors for later that are read: the same, and arrays of the caller's as they are now. */
export function keepIn(memory: ModuleMemory): Replace {
  const hold = holdIn(memory);
  // An array that a call names twice stays one.
  const copies = new Map<object, unknown>();
  return <V extends Parameters<Replace>[0]>(tensor: V): V => {
    const { data } = tensor;
    if (data instanceof DeviceArray || memory.addressOf(data) >= 0) return hold(tensor);
    if (!copies.has(data)) copies.set(data, data.slice());
    return { ...tensor, data: copies.get(data) };
  };
}
