/** Lets calls go on in the order they were made, also where one has to wait (for a compiler, say) and the next has not. */
import type { AbortSignalLike } from "../errors/signal.ts";
export class CallOrder {
  #inside = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** Whether a call has not left yet. While none is there, the next may go on at once. */
  get busy(): boolean {
    return this.#inside > 0;
  }

  /** Resolves when all calls so far have left. */
  get last(): Promise<unknown> {
    return this.#last;
  }

  /** Takes the next place. `turn` resolves when all earlier calls have left, whatever became of them. Leaving again does nothing. */
  enter(): { readonly turn: Promise<unknown>; leave(): void } {
    const turn = this.#last;
    let resolve: () => void = () => undefined;
    const left = new Promise<void>((done) => (resolve = done));
    this.#last = turn.then(() => left);
    this.#inside++;
    let inside = true;
    return {
      turn,
      leave: () => {
        if (!inside) return;
        inside = false;
        this.#inside--;
        resolve();
      },
    };
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
