/** Thrown when inputs are valid but cannot be computed here: a dtype, an engine without SIMD. */
export class UnsupportedError extends Error {
  /** Identifies this error where `instanceof` cannot, as with two copies of the package. */
  override readonly name = "UnsupportedError";
}

/** Thrown when something is used after its `dispose()`. */
export class DisposedError extends Error {
  /** Identifies this error where `instanceof` cannot, as with two copies of the package. */
  override readonly name = "DisposedError";
}

/** Thrown when the machine fails a valid call: no memory left, a device lost. */
export class BackendError extends Error {
  /** Identifies this error where `instanceof` cannot, as with two copies of the package. */
  override readonly name = "BackendError";
}

/**
 * A `BackendError` for a call that is too large for the GPU. Thrown when the call is made, before anything is submitted, so that the CPU
 * can take it. @internal
 */
export class TooLargeError extends BackendError {}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// How much of a value a message shows: arguments may be large, or contain themselves.
const MOST_ELEMENTS = 8;
const MOST_LEVELS = 2;
const MOST_CHARACTERS = 60;

/** A value as shown in a message, cut short if it is long. */
export function describe(value: unknown, levels = MOST_LEVELS): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) {
    if (levels === 0) return "[…]";
    const shown = value.slice(0, MOST_ELEMENTS).map((v) => describe(v, levels - 1));
    if (value.length > MOST_ELEMENTS) shown.push(`… (${value.length})`);
    return `[${shown.join(", ")}]`;
  }
  if (typeof value === "string") return value.length > MOST_CHARACTERS ? `"${value.slice(0, MOST_CHARACTERS)}…"` : `"${value}"`;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "object") {
    const name = (value.constructor as { name?: string } | undefined)?.name ?? "an object";
    return "BYTES_PER_ELEMENT" in value && !ArrayBuffer.isView(value) ? `a proxy of ${name}` : name;
  }
  if (typeof value === "function") return "a function";
  // eslint-disable-next-line @typescript-eslint/no-base-to-string -- a number, boolean or symbol is left, which TypeScript cannot say of `unknown`
  return String(value);
}
