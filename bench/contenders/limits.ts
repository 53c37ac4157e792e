import type { Contender, Runner } from "../measure/contender.ts";
import { MULTIPLY_ADD_FLOPS, type Machine } from "../machine/limits.ts";
import type { Context } from "./context.ts";

// Limits that take their turns in a case like everyone else, so that a machine that slows down lowers them too.

export const MULTIPLY_ADD = "multiply-add peak";
export const READ = "v128 read";

/** Operations of one run: as many as the case's, so that both are interrupted alike, up to some 20 milliseconds. */
const MOST_FLOPS = 1e9;

function limit(name: string, expected: Contender["expected"], prepare: Contender["prepare"], tolerance = 1e-3): Contender {
  return { name, group: "limit", tolerance: () => tolerance, prepare, ...(expected && { expected }) };
}

/** The memory's limit: a v128 copy, which reads and writes the very bytes that a softmax of the same shape must. */
export function copyLimit(machine: Machine): Contender {
  const x: Contender["expected"] = ({ operands }) => operands[0]?.data ?? [];
  return limit("v128 copy", x, ({ operands }) => machine.copyRunner(operands[0]?.data ?? new Float32Array(0)), 0);
}

/** Multiply-adds in registers, in each binary, for a case of so many; `perFlop` is the suite's amount for one: 1 for GFLOP/s. */
export function multiplyAddLimits({ instances, machine }: Context, flops: number, perFlop = 1): readonly Contender[] {
  const count = Math.round(Math.min(flops, MOST_FLOPS) / MULTIPLY_ADD_FLOPS);
  return instances.map(({ variant }) => ({
    // Twelve sums of four lanes that stay at one.
    ...limit(
      MULTIPLY_ADD,
      () => [48],
      (): Runner => machine.multiplyAddRunner(variant, count),
    ),
    variant,
    amount: count * MULTIPLY_ADD_FLOPS * perFlop,
  }));
}

/** A v128 sum over `bytes` of ones. */
export function readLimit({ machine }: Context, bytes: number): Contender {
  return limit(
    READ,
    () => [bytes / 4],
    () => machine.readRunner(bytes),
  );
}
