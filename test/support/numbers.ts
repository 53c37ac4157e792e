import type { FloatType } from "./tolerances.ts";

/** Uniform numbers in [0, 1), the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Generator = (next: () => number) => number;

// Each kind exists to make something fail.
const KINDS = {
  /** Activations. Standard softmax can take them in rows of any length. */
  normal: (next) => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()) * 2,
  /** exp overflows unless the max is subtracted first. */
  wide: (next) => (next() - 0.5) * 600,
  /** A few large numbers among many small ones: the running max jumps late, and everything before vanishes. */
  outliers: (next) => (next() < 0.01 ? 90 + 1000 * next() : next()),
  /** The max occurs many times. */
  ties: (next) => Math.floor(next() * 3) - 1,
  /** ±0, denormals, and numbers that vanish when added to 1. */
  tiny: (next) => [0, -0, 1e-40, -1e-40, 1e-45, 1e-10, -1e-10, 1][Math.floor(next() * 8)] ?? 0,
  /** Masked by −inf here and there. */
  holes: (next) => (next() < 0.4 ? -Infinity : (next() - 0.5) * 20),
  /** Everything is far from zero: few digits remain after subtracting the max. */
  shifted: (next) => -5000 + next() * 10,
} satisfies Record<string, Generator>;

export type Kind = keyof typeof KINDS;

export const ALL_KINDS = Object.keys(KINDS) as Kind[];
/** Inputs whose exponentials and sums are normal numbers: all that standard softmax promises to compute. */
export const STANDARD_KINDS: readonly Kind[] = ["normal", "ties", "tiny"];

/** `count` numbers of a kind. */
export function numbers(kind: Kind, count: number, seed = 1): Float32Array {
  return numbersOf("f32", kind, count, seed);
}

/** The same for either dtype: f64 has more digits, not different numbers. */
export function numbersOf<D extends FloatType>(dtype: D, kind: Kind, count: number, seed = 1): D extends "f32" ? Float32Array : Float64Array {
  const result = dtype === "f32" ? new Float32Array(count) : new Float64Array(count);
  const next = random(seed * 7919 + count);
  for (let i = 0; i < count; i++) result[i] = KINDS[kind](next);
  return result as never;
}

/** Mask bytes: about one in three is 0, and the others are not always 1. */
export function maskBytes(count: number, seed = 1): Uint8Array {
  const next = random(seed * 104729 + count);
  return Uint8Array.from({ length: count }, () => Math.max(0, Math.floor(next() * 6) - 1) * 51);
}
