import { describe } from "../errors/errors.ts";

/**
 * The standard ALiBi slopes (Press, Smith and Lewis, arXiv:2108.12409): 2^(−maxBias·1/n), 2^(−maxBias·2/n), … for n heads. If n
 * is not a power of two: the slopes of the next smaller power, then every other slope of the next larger one.
 *
 * @param heads - number of query heads
 * @param maxBias - the exponent of the last slope; 8 in the paper
 * @returns one slope per head
 * @throws RangeError if `heads` is not a positive integer or `maxBias` is not a positive number
 *
 * @example
 * ```ts
 * alibiSlopes(4); // [0.25, 0.0625, 0.015625, 0.00390625]
 * ```
 */
export function alibiSlopes(heads: number, maxBias = 8): Float32Array {
  if (!Number.isSafeInteger(heads) || heads < 1) throw new RangeError(`"heads" expected a positive integer, got ${describe(heads)}`);
  if (!Number.isFinite(maxBias) || maxBias <= 0) throw new RangeError(`"maxBias" expected a positive number, got ${describe(maxBias)}`);
  const power = 2 ** Math.floor(Math.log2(heads));
  return Float32Array.from({ length: heads }, (_, h) =>
    h < power ? 2 ** ((-maxBias * (h + 1)) / power) : 2 ** ((-maxBias * (2 * (h - power) + 1)) / (2 * power)),
  );
}
