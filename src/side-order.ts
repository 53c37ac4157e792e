import { CallOrder } from "./call-order.ts";
import type { ModuleMemory } from "./backend/wasm/memory.ts";
import type { Device } from "./dispatch.ts";
import type { AbortSignalLike } from "./gpu-types.ts";
import type { MapCall, Replace } from "./map-call.ts";
import { DeviceArray } from "./tensor.ts";

/** What a call uses in place, so that its order matters. */
export interface InPlace {
  /** Module memory, which both sides read and write. */
  readonly module: boolean;
  /** GPU buffers. */
  readonly buffers: boolean;
}

/** Finds out what a call uses in place. */
export function usedInPlace<C>(memory: ModuleMemory, call: C, map: MapCall<C>): InPlace {
  let [module, buffers] = [false, false];
  const look: Replace = (tensor) => {
    if (tensor.data instanceof DeviceArray) buffers = true;
    else if (memory.addressOf(tensor.data) >= 0) module = true;
    return tensor;
  };
  map(call, look, look);
  return { module, buffers };
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
 * calls in order: the CPU by its queue, the GPU by its submissions. So a call waits for those on the other side over module memory,
 * and behind calls on its own side that wait.
 */
export class SideOrder {
  /** Calls over module memory that have not settled. */
  readonly #open = { wasm: new CallOrder(), webgpu: new CallOrder() };
  /** Calls that have not begun. */
  readonly #waiting = { wasm: new CallOrder(), webgpu: new CallOrder() };

  /** Takes the next place on a side; undefined for calls that neither wait nor are waited for. */
  enter(side: Device, { module, buffers }: InPlace): Place | undefined {
    const others = this.#open[side === "wasm" ? "webgpu" : "wasm"];
    const mine = this.#waiting[side];
    const before: Promise<unknown>[] = [];
    if (module && others.busy) before.push(others.last);
    if ((module || buffers) && mine.busy) before.push(mine.last);
    if (!module && before.length === 0) return undefined;
    const waits = before.length === 0 ? undefined : mine.enter();
    const open = module ? this.#open[side].enter() : undefined;
    return { turn: waits && Promise.all(before), begun: () => waits?.leave(), ended: () => open?.leave() };
  }
}

/** Waits for a turn, but no longer than the caller cares. */
export function waitForTurn(turn: Promise<unknown>, signal: AbortSignalLike | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
    const abort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", abort);
    void turn.then(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    });
  });
}
