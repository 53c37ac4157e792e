import type { Context } from "../context.ts";
import type { Contender, Runner } from "../contender.ts";
import { MULTIPLY_ADD_FLOPS } from "../machine/limits.ts";

// Limits that take their turns in a case like everyone else, so that a machine that slows down lowers them too.

export const MULTIPLY_ADD = "multiply-add peak";
export const READ = "v128 read";

/** Operations of one run: as many as the case's, so that both are interrupted alike, up to some 20 milliseconds. */
const MOST_FLOPS = 1e9;

/** Multiply-adds in registers, in each binary, for a case of so many; `perFlop` is the suite's amount for one: 1 for GFLOP/s. */
export function multiplyAddLimits({ instances, machine }: Context, flops: number, perFlop = 1): readonly Contender<unknown>[] {
  const count = Math.round(Math.min(flops, MOST_FLOPS) / MULTIPLY_ADD_FLOPS);
  return instances.map(({ variant }) => ({
    ...limit(MULTIPLY_ADD, 48, () => machine.multiplyAddRunner(variant, count)),
    variant,
    amount: count * MULTIPLY_ADD_FLOPS * perFlop,
  }));
}

/** A v128 sum over `bytes`. */
export function readLimit({ machine }: Context, bytes: number): Contender<unknown> {
  return limit(READ, bytes / 4, () => machine.readRunner(bytes));
}

/** A loop whose result is a single number: twelve sums that stay at four ones, or the sum of as many ones as there are. */
function limit(name: string, result: number, prepare: () => Runner): Contender<unknown> {
  return { name, group: "limit", tolerance: () => 1e-3, expected: () => Float64Array.of(result), prepare };
}
