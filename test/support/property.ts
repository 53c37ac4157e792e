import fc from "fast-check";
import { ALL_KINDS, type Kind, numbers, random } from "./numbers.ts";

// Properties use the same inputs everywhere, so that everybody sees the same failure. ONEPASS_SEED tries others.
fc.configureGlobal({ seed: Number(process.env["ONEPASS_SEED"] ?? 180502867), numRuns: 200 });

/** Lengths around those that kernels process at once, and any others up to a few blocks. */
export const length = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 5000 }), fc.constantFrom(1023, 1024, 1025, 2048, 4096));

/** A row of numbers, given by its recipe so that a counterexample fits on a line. */
export function row(kinds: readonly Kind[] = ALL_KINDS): fc.Arbitrary<{ kind: Kind; count: number; seed: number }> {
  return fc.record({ kind: fc.constantFrom(...kinds), count: length, seed: fc.nat(1000) });
}

/** The numbers of such a row. */
export function made({ kind, count, seed }: { kind: Kind; count: number; seed: number }): Float32Array {
  return numbers(kind, count, seed);
}

/** Where to cut `count` elements: ascending, from 0 to `count`; parts may be empty. */
export function cuts(count: number, points: readonly number[]): number[] {
  return [0, ...points.map((p) => p % (count + 1)).sort((a, b) => a - b), count];
}

/** The numbers below `count` in any order. */
export function shuffled(count: number, seed: number): number[] {
  const next = random(seed);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}

export { fc };
