import { CallOrder } from "../calls/call-order.ts";
import type { UsedArrays } from "../calls/call.ts";
import type { ArrayHandle, ModuleOwner } from "../tensor/array.ts";
import type { Device } from "./dispatch.ts";

/** What a call uses in place, so that its order matters. */
export interface InPlace {
  /** Whether it reads module memory, which both sides do, and whether it writes there. */
  readonly reads: boolean;
  readonly writes: boolean;
  /** Whether it uses GPU buffers. */
  readonly buffers: boolean;
}

/** Finds out what a call uses in place. */
export function usedInPlace(memory: ModuleOwner, { operands, results }: UsedArrays): InPlace {
  const used = { reads: false, writes: false, buffers: false };
  const look = (how: "reads" | "writes", data: ArrayHandle | undefined): void => {
    if (data?.owner === memory) used[how] = true;
    if (data?.place === "gpu") used.buffers = true;
  };
  for (const name of Object.keys(operands)) look("reads", operands[name]?.data);
  for (const name of Object.keys(results)) look("writes", results[name]?.out?.data);
  return used;
}

/** A call's turn. */
export interface Turn {
  /** Resolves when the call may begin; `undefined` if it may begin at once. */
  readonly ready: Promise<unknown> | undefined;
  /** To be called when the call has entered the order of its own side, or was given up. */
  begun(): void;
  /** To be called when the call has settled. */
  ended(): void;
}

/**
 * Keeps CPU and GPU calls in the order they were made if they use the same memory in place. Each side keeps its own calls in order: the CPU
 * by its queue, the GPU by its submissions. But the GPU reads module memory when a call begins, and writes it when the call settles. So a
 * call that uses module memory waits for such calls on the other side, and on the GPU also for pending GPU writes. No call that uses
 * anything in place overtakes a waiting call on its side.
 */
export class SideOrder {
  /** Calls that have yet to read or write module memory. */
  readonly #open = { wasm: new CallOrder(), webgpu: new CallOrder() };
  /** Calls that have not begun. */
  readonly #waiting = { wasm: new CallOrder(), webgpu: new CallOrder() };

  /** Takes the next turn on a side; `undefined` for calls that neither wait nor make others wait. */
  enter(side: Device, { reads, writes, buffers }: InPlace): Turn | undefined {
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
      ready: waits && Promise.all(before),
      begun: () => {
        waits?.leave();
        if (onGpu && !writes) opened?.leave();
      },
      ended: () => opened?.leave(),
    };
  }
}
