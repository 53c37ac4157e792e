import { describe } from "./errors.ts";
import { isEverywhere } from "./options.ts";

/** An `AbortSignal`. */
export interface AbortSignalLike {
  /** Whether it has been aborted. */
  readonly aborted: boolean;
  /** What calls reject with once it is aborted. */
  readonly reason: unknown;
  /** Adds a listener for the abort. */
  addEventListener(type: "abort", listener: () => void): void;
  /** Removes a listener. */
  removeEventListener(type: "abort", listener: () => void): void;
}

/**
 * A caller's signal as calls use it. However many calls wait for it, it has one listener; and nothing that a signal of the caller's own making
 * throws keeps a call from settling.
 */
class SharedSignal implements AbortSignalLike {
  readonly #signal: AbortSignalLike;
  readonly #listeners = new Set<() => void>();
  readonly #notify = (): void => {
    for (const listener of [...this.#listeners]) listener();
  };

  constructor(signal: AbortSignalLike) {
    this.#signal = signal;
  }

  get aborted(): boolean {
    return attempt(() => this.#signal.aborted) === true;
  }

  get reason(): unknown {
    return attempt(() => this.#signal.reason);
  }

  addEventListener(type: "abort", listener: () => void): void {
    if (this.#listeners.size === 0) attempt(() => this.#signal.addEventListener(type, this.#notify));
    this.#listeners.add(listener);
  }

  removeEventListener(type: "abort", listener: () => void): void {
    if (this.#listeners.delete(listener) && this.#listeners.size === 0) attempt(() => this.#signal.removeEventListener(type, this.#notify));
  }
}

/** Calls a function of the caller's; gives what it throws instead of throwing it. */
function attempt(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}

const SHARED = new WeakMap<object, SharedSignal>();

/** Splits an engine's options into the signal and the rest, which the plain function checks. */
export function takeSignal(options: unknown): { readonly signal: AbortSignalLike | undefined; readonly rest: never } {
  if (typeof options !== "object" || options === null || !("signal" in options)) return { signal: undefined, rest: options as never };
  const rest: Record<string, unknown> = {};
  for (const key in options) if (key !== "signal" && !isEverywhere(options, key)) rest[key] = (options as Readonly<Record<string, unknown>>)[key];
  return { signal: parseSignal(options.signal), rest: rest as never };
}

function parseSignal(value: unknown): AbortSignalLike | undefined {
  if (value === undefined) return undefined;
  const { aborted, addEventListener, removeEventListener } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof aborted !== "boolean" || typeof addEventListener !== "function" || typeof removeEventListener !== "function")
    throw new TypeError(`"signal" expected an AbortSignal, got ${describe(value)}`);
  const known = SHARED.get(value as AbortSignalLike);
  if (known !== undefined) return known;
  const shared = new SharedSignal(value as AbortSignalLike);
  SHARED.set(value as AbortSignalLike, shared);
  return shared;
}
