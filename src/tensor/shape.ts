import { describe } from "../errors/errors.ts";

/** The most dimensions a tensor may have. */
export const MAX_RANK = 8;

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  let n = 1;
  for (const size of shape) n *= size;
  return n;
}

/** Row-major strides in elements. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    strides[d] = step;
    step *= shape[d] ?? 0;
  }
  return strides;
}

/** Number of elements from the first to the last that a view covers, both included. */
export function extentOf(shape: readonly number[], strides: readonly number[]): number {
  return elementCount(shape) === 0 ? 0 : shape.reduce((sum, size, d) => sum + (size - 1) * (strides[d] ?? 0), 1);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let d = 0; d < a.length; d++) if (a[d] !== b[d]) return false;
  return true;
}

/** A copy of an array's elements, or another iterable's, bigints as numbers; `undefined` for anything else. */
export function elementsOf(value: unknown): unknown[] | undefined {
  const toNumber = (n: unknown): unknown => (typeof n === "bigint" ? Number(n) : n);
  if (Array.isArray(value)) return value.map(toNumber);
  if (typeof value !== "object" || value === null || !(Symbol.iterator in value)) return undefined;
  try {
    return Array.from(value as Iterable<unknown>, toNumber);
  } catch {
    // A detached array, or a proxy of one.
    return undefined;
  }
}

/** Checks a shape argument, an array or another iterable: at most eight dimensions, each a non-negative integer. */
export function parseShape(name: string, value: unknown): readonly number[] {
  const sizes = elementsOf(value);
  if (sizes === undefined) throw new TypeError(`"${name}" expected a shape (an array of sizes), got ${describe(value)}`);
  if (sizes.length > MAX_RANK) throw new RangeError(`"${name}" expected at most ${MAX_RANK} dimensions, got ${sizes.length}`);
  for (const size of sizes) {
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
      throw new RangeError(`"${name}" expected sizes that are non-negative integers, got ${describe(value)}`);
  }
  return sizes as number[];
}

/** Checks one axis of a tensor of `rank` dimensions; negatives count from the end. A scalar has axis 0 (or −1). */
export function parseAxis(value: unknown, rank: number): number {
  if (typeof value !== "number") throw new TypeError(`"axis" expected an integer, got ${describe(value)}`);
  const span = Math.max(rank, 1);
  if (!Number.isInteger(value) || value < -span || value >= span)
    throw new RangeError(`"axis" expected an integer from ${-span} to ${span - 1} for ${rank} dimensions, got ${value}`);
  return value < 0 ? value + span : value;
}

/** Strides that make a tensor of `shape` look like `target`, right-aligned: 0 along repeated dimensions. */
export function broadcastStrides(name: string, shape: readonly number[], strides: readonly number[], target: readonly number[]): number[] {
  const lead = target.length - shape.length;
  const fits = lead >= 0 && shape.every((size, d) => size === 1 || size === target[lead + d]);
  if (!fits) throw new RangeError(`"${name}" expected a shape that broadcasts to ${describe(target)}, got ${describe(shape)}`);
  return target.map((_, d) => (d < lead || shape[d - lead] === 1 ? 0 : (strides[d - lead] ?? 0)));
}
