import { describe } from "./errors.ts";

/** Checks that a value is an object and not an array. */
export function parseObject(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError(`"${name}" expected an object, got ${describe(value)}`);
  return value as Readonly<Record<string, unknown>>;
}

/** Rejects anything but an object with known keys, so that a misspelt option is an error instead of being ignored. */
export function checkOptions(value: unknown, known: ReadonlySet<string>): void {
  if (value === undefined) return;
  const options = parseObject("options", value);
  for (const key in options) {
    if (!known.has(key) && !isEverywhere(options, key))
      throw new TypeError(`"${key}" is not an option here${hintFor(key, known)}; expected one of ${[...known].join(", ")}`);
  }
}

/** Other libraries' names of options, in small letters and without "_": the name here, and what else to know. */
const OTHER_NAMES = /* @__PURE__ */ new Map([
  ["dim", "axis"],
  ["temperature", "scale (1 / temperature)"],
  ["keepdim", "keepDims"],
  ["iscausal", 'causal ("upper-left" as in PyTorch)'],
  ["attnmask", "mask (nonzero = attend) or bias (added)"],
  ["keypaddingmask", "mask (inverted: nonzero = attend) or kvLengths"],
  ["logitssoftcap", "softcap"],
  ["dropoutp", "nothing, there is no dropout"],
  ["enablegqa", "nothing, grouped queries follow from the shapes"],
]);

/** What to write instead of an unknown option. */
function hintFor(key: string, known: ReadonlySet<string>): string {
  const plain = (text: string): string => text.toLowerCase().replaceAll("_", "");
  const here = OTHER_NAMES.get(plain(key)) ?? [...known].find((option) => plain(option) === plain(key)) ?? "";
  const [name = ""] = /^\w*/.exec(here) ?? [];
  return name === "nothing" || known.has(name) ? `: use ${here}` : "";
}

/** Whether an object has a property only because all objects have it, as with libraries that extend `Object.prototype`. */
export function isEverywhere(value: object, key: string): boolean {
  return key in Object.prototype && !Object.hasOwn(value, key);
}

/** A number that is finite in the dtype it is computed in, or `fallback` if undefined. */
export function parseFinite(name: string, value: unknown, fallback: number, dtype: "f32" | "f64" = "f32"): number {
  if (value === undefined) return fallback;
  if (typeof value !== "number") throw new TypeError(`"${name}" expected a number, got ${describe(value)}`);
  if (!Number.isFinite(dtype === "f32" ? Math.fround(value) : value)) {
    throw new RangeError(`"${name}" expected a finite number${Number.isFinite(value) ? " that f32 can hold" : ""}, got ${value}`);
  }
  return value;
}

/** A finite number from `least` to `most`, or `fallback` if undefined. */
export function parseWithin(name: string, value: unknown, fallback: number, least: number, most = Infinity): number {
  const number = parseFinite(name, value, fallback, "f64");
  if (number < least || number > most) {
    const range = most !== Infinity ? `from ${least} to ${most}` : least > 0 ? "greater than 0" : `of at least ${least}`;
    throw new RangeError(`"${name}" expected a number ${range}, got ${number}`);
  }
  return number;
}

/** An integer that is at least `least`, which is 0 or 1. */
export function parseCount(name: string, value: unknown, least: 0 | 1): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < least)
    throw new (typeof value === "number" ? RangeError : TypeError)(
      `"${name}" expected a ${least === 1 ? "positive" : "non-negative"} integer, got ${describe(value)}`,
    );
  return value;
}

/** A boolean, or false if undefined. */
export function parseFlag(name: string, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value !== "boolean") throw new TypeError(`"${name}" expected true or false, got ${describe(value)}`);
  return value;
}

/** One of a few words, or the first if undefined. */
export function parseChoice<T extends string>(name: string, value: unknown, choices: readonly [T, ...T[]]): T {
  if (value === undefined) return choices[0];
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  const message = `"${name}" expected ${choices.map((c) => `"${c}"`).join(" | ")}, got ${describe(value)}`;
  throw typeof value === "string" ? new RangeError(message) : new TypeError(message);
}
