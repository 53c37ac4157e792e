import { describe } from "./errors.ts";
import type { OnEngine } from "./engine-types.ts";
import type { AbortSignalLike } from "./gpu-types.ts";

/** Options of an engine's call, apart: its signal, and those of the plain function, which checks them. */
export function takeSignal<O>(options: OnEngine<O> | undefined): { readonly signal: AbortSignalLike | undefined; readonly rest: O } {
  const given: unknown = options;
  if (typeof given !== "object" || given === null || !("signal" in given)) return { signal: undefined, rest: given as O };
  const rest: Record<string, unknown> = {};
  for (const key in given) if (key !== "signal") rest[key] = (given as Readonly<Record<string, unknown>>)[key];
  return { signal: parseSignal(given.signal), rest: rest as O };
}

function parseSignal(value: unknown): AbortSignalLike | undefined {
  if (value === undefined) return undefined;
  const { aborted, addEventListener } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof aborted !== "boolean" || typeof addEventListener !== "function") throw new TypeError(`"signal" expected an AbortSignal, got ${describe(value)}`);
  return value as AbortSignalLike;
}
