import type { ModuleMemory } from "../backend/wasm/module/memory.ts";
import { CallOrder } from "../calls/call-order.ts";
import type { Device } from "./dispatch.ts";
import type { MapCall, Replace } from "../calls/map-call.ts";
import { DeviceArray } from "../tensor/tensor.ts";

/** What a call uses in place, so that its order matters. */
export interface InPlace {
  /** Whether it reads module memory, which both sides do, and whether it writes there. */
  readonly reads: boolean;
  readonly writes: boolean;
  /** Whether it uses GPU buffers. */
  readonly buffers: boolean;
}

/** Finds out what a call uses in place. */
export function usedInPlace<C>(memory: ModuleMemory, call: C, map: MapCall<C>): InPlace {
  const used = { reads: false, writes: false, buffers: false };
  const look =
    (how: "reads" | "writes"): Replace =>
    (tensor) => {
      if (tensor.data instanceof DeviceArray) used.buffers = true;
      else if (memory.addressOf(tensor.data) >= 0) used[how] = true;
      return tensor;
    };
  map(call, look("reads"), look("writes"));
  return used;
}

/** A call's place in the order. */
export interface Place {
  /** Resolves when the call may begin; undefined: it may at once. */
  readonly turn: Promise<unknown> | undefined;
  /** The call is in the order of its own side, or given up. */
  begun(): void;
  /** The call has settled. */
  ended(): void;
}

/**
 * Keeps calls on the CPU and on the GPU in the order they were made where they use the same memory in place. Each side keeps its own
 * calls in order: the CPU by its queue, the GPU by its submissions. But the GPU reads module memory when a call begins, and writes it
 * when the call settles. So a call over module memory waits for those on the other side, and on the GPU for what the GPU has still to
 * write; and no call that uses anything in place overtakes one on its side that waits.
 */
export class SideOrder {
  /** Calls over module memory that have still to read or write it. */
  readonly #open = { wasm: new CallOrder(), webgpu: new CallOrder() };
  /** Calls that have not begun. */
  readonly #waiting = { wasm: new CallOrder(), webgpu: new CallOrder() };

  /** Takes the next place on a side; undefined for calls that neither wait nor are waited for. */
  enter(side: Device, { reads, writes, buffers }: InPlace): Place | undefined {
    const onGpu = side === "webgpu";
    const module = reads || writes;
    const [open, others, waiting] = [this.#open[side], this.#open[onGpu ? "wasm" : "webgpu"], this.#waiting[side]];
    const before: Promise<unknown>[] = [];
    if (module && others.busy) before.push(others.last);
    if (onGpu && reads && open.busy) before.push(open.last);
    if ((module || buffers) && waiting.busy) before.push(waiting.last);
    if (!module && before.length === 0) return undefined;
    const waits = before.length === 0 ? undefined : waiting.enter();
    const opened = module ? open.enter() : undefined;
    return {
      turn: waits && Promise.all(before),
      begun: () => {
        waits?.leave();
        if (onGpu && !writes) opened?.leave();
      },
      ended: () => opened?.leave(),
    };
  }
}
