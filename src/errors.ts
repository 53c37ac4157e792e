/** Thrown when a combination of inputs is valid but not computed here: a dtype, an engine without SIMD. */
export class UnsupportedError extends Error {
  /** Tells this error where `instanceof` cannot, as with two copies of the package. */
  override readonly name = "UnsupportedError";
}

/** Thrown when something is used after its `dispose()`. */
export class DisposedError extends Error {
  /** Tells this error where `instanceof` cannot, as with two copies of the package. */
  override readonly name = "DisposedError";
}

/** Thrown when the machine fails a valid call: no memory left, a device lost. */
export class BackendError extends Error {
  /** Tells this error where `instanceof` cannot, as with two copies of the package. */
  override readonly name = "BackendError";
}

/**
 * A `BackendError` of a GPU that cannot take a call for its size. Thrown when the call is made, before anything is submitted, so that
 * the CPU can take it. @internal
 */
export class TooLargeError extends BackendError {}

/** A value as it should appear in a message. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return `[${value.map((v) => describe(v)).join(", ")}]`;
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "object") return (value.constructor as { name?: string } | undefined)?.name ?? "an object";
  if (typeof value === "function") return "a function";
  // eslint-disable-next-line @typescript-eslint/no-base-to-string -- a number, boolean, bigint or symbol is left, which TypeScript cannot say of `unknown`
  return String(value);
}
