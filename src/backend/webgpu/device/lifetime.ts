import type { BackendError, DisposedError } from "../../../errors/errors.ts";
import type { AbortSignalLike } from "../../../errors/signal.ts";

/** The time until a device is lost or disposed of. When it ends, everything that waits for the device rejects. */
export class Lifetime {
  /** Resolves with the reason when it ends. */
  readonly lost: Promise<string>;
  #lose: (reason: string) => void = () => undefined;
  /** Functions that reject the promises waiting for the device. */
  readonly #waiting = new Set<(error: Error) => void>();
  #ended: BackendError | DisposedError | undefined;

  constructor() {
    this.lost = new Promise((resolve) => (this.#lose = resolve));
  }

  /** Why no call can run any more; `undefined` while calls can. */
  get ended(): BackendError | DisposedError | undefined {
    return this.#ended;
  }

  /** @throws the error if no call can run any more, the signal's reason if it is aborted */
  check(signal?: AbortSignalLike): void {
    if (this.#ended !== undefined) throw this.#ended;
    if (signal?.aborted === true) throw signal.reason;
  }

  /** Ends it, unless it has ended already. */
  end(error: BackendError | DisposedError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#lose(error.message);
    for (const reject of [...this.#waiting]) reject(error);
  }

  /** Waits for a promise, until the device is lost or the caller aborts. */
  wait<T>(promise: Promise<T>, signal?: AbortSignalLike): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const done = (): void => {
        this.#waiting.delete(stop);
        signal?.removeEventListener("abort", abort);
      };
      const stop = (error: unknown): void => {
        done();
        // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason may be anything
        reject(error);
      };
      const abort = (): void => stop(signal?.reason);
      this.#waiting.add(stop);
      signal?.addEventListener("abort", abort);
      promise.then((value) => {
        done();
        resolve(value);
      }, stop);
    });
  }
}
