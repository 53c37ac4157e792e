import { describe } from "./errors.ts";

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

/** Splits an engine's options into the signal and the rest, which the plain function checks. */
export function takeSignal(options: unknown): { readonly signal: AbortSignalLike | undefined; readonly rest: never } {
  if (typeof options !== "object" || options === null || !("signal" in options)) return { signal: undefined, rest: options as never };
  const rest: Record<string, unknown> = {};
  for (const key in options) if (key !== "signal") rest[key] = (options as Readonly<Record<string, unknown>>)[key];
  return { signal: parseSignal(options.signal), rest: rest as never };
}

function parseSignal(value: unknown): AbortSignalLike | undefined {
  if (value === undefined) return undefined;
  const { aborted, addEventListener } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof aborted !== "boolean" || typeof addEventListener !== "function") throw new TypeError(`"signal" expected an AbortSignal, got ${describe(value)}`);
  return value as AbortSignalLike;
}
