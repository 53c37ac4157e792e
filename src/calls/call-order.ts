/** Keeps calls in the order they were made, even if one has to wait (for a compiler, say) and the next does not. */
import type { AbortSignalLike } from "../errors/signal.ts";
export class CallOrder {
  #inside = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** Whether some call has not left yet. If not, the next may go ahead at once. */
  get busy(): boolean {
    return this.#inside > 0;
  }

  /** Resolves when all calls so far have left. */
  get last(): Promise<unknown> {
    return this.#last;
  }

  /** Takes the next place. `turn` resolves when all earlier calls have left, even if they failed. Leaving again does nothing. */
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

/** Waits for a turn, or until the caller aborts. */
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
