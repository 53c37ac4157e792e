import { describe } from "../errors/errors.ts";
import { checkOptions, parseChoice, parseFinite, parseObject } from "../errors/options.ts";
import type { HeadOperand } from "./attention-call.ts";
import type { Call, Result } from "./call.ts";
import type { HeadSizes, Layout } from "./head-layout.ts";

/**
 * How frequencies are changed for texts longer than those of the training, as Hugging Face's `rope_scaling` has it:
 * - `"linear"`: all of them divided by `factor` (arXiv:2306.15595).
 * - `"dynamic"`: the base grows with the length once that exceeds `originalLength` (NTK).
 * - `"llama3"`: low frequencies divided, high ones kept, those between blended.
 * - `"yarn"`: by the number of turns within `originalLength`; cosines and sines times `attentionFactor`, by default 0.1 · ln(factor) + 1
 *   (arXiv:2309.00071).
 */
export type RotaryScaling = LinearScaling | DynamicScaling | Llama3Scaling | YarnScaling;

/** Divides all frequencies: position interpolation. */
export interface LinearScaling {
  /** Which scaling it is. */
  readonly type: "linear";
  /** How many times longer texts may be than those of the training. */
  readonly factor: number;
}

/** Raises the base with the length (NTK). */
export interface DynamicScaling extends Omit<LinearScaling, "type"> {
  /** Which scaling it is. */
  readonly type: "dynamic";
  /** The longest text of the training, in tokens. */
  readonly originalLength: number;
}

/** Divides low frequencies only. */
export interface Llama3Scaling extends Omit<DynamicScaling, "type"> {
  /** Which scaling it is. */
  readonly type: "llama3";
  /** Pairs that turn fewer times than this within `originalLength` are divided. */
  readonly lowFrequencyFactor: number;
  /** Pairs that turn more times than this are kept. */
  readonly highFrequencyFactor: number;
}

/** Divides by the number of turns, and scales cosines and sines. */
export interface YarnScaling extends Omit<DynamicScaling, "type"> {
  /** Which scaling it is. */
  readonly type: "yarn";
  /** Pairs that turn more times than this within `originalLength` are kept. Default 32. */
  readonly betaFast?: number;
  /** Pairs that turn fewer times than this are divided. Default 1. */
  readonly betaSlow?: number;
  /** Multiplies cosines and sines. Default 0.1 · ln(factor) + 1. */
  readonly attentionFactor?: number;
}

/** What determines the angles, apart from positions. */
export interface RotaryAngles {
  /** Pair i turns by position · base^(−2i / rotaryDim). Default 10000. */
  readonly base?: number;
  /** How many of a head's first dimensions turn; even. Default: all. */
  readonly rotaryDim?: number;
  /** Whether pairs are (2i, 2i + 1), as in GPT-J, instead of (i, i + rotaryDim / 2), as in Llama. Default false. */
  readonly interleaved?: boolean;
  /** See {@link RotaryScaling}. Default: none. */
  readonly scaling?: RotaryScaling;
}

/** A checked call of applyRotary. */
export interface RotaryCall extends Call {
  readonly kind: "rotary";
  readonly op: "applyRotary";
  readonly operands: { readonly x: HeadOperand };
  readonly sizes: HeadSizes;
  readonly layout: Layout;
  readonly rotaryDim: number;
  readonly interleaved: boolean;
  /** For each batch entry and row, or each row alike in all entries, the cosines and then the sines of its pairs. */
  readonly angles: Float32Array;
  readonly results: { readonly out: Result };
}

const PARAMETERS: Readonly<Record<RotaryScaling["type"], readonly string[]>> = {
  linear: ["factor"],
  dynamic: ["factor", "originalLength"],
  llama3: ["factor", "lowFrequencyFactor", "highFrequencyFactor", "originalLength"],
  yarn: ["factor", "originalLength", "betaFast", "betaSlow", "attentionFactor"],
};

/** Checks `scaling`: every parameter a positive number. */
export function parseScaling(value: unknown): RotaryScaling | undefined {
  if (value === undefined) return undefined;
  const given = parseObject("scaling", value);
  if (given["type"] === undefined) throw new TypeError(`"scaling" expected a "type", got ${describe(value)}`);
  const type = parseChoice<RotaryScaling["type"]>("scaling.type", given["type"], ["linear", "dynamic", "llama3", "yarn"]);
  checkOptions(given, new Set(["type", ...PARAMETERS[type]]));
  const defaults: Readonly<Record<string, number>> = type === "yarn" ? { betaFast: 32, betaSlow: 1, attentionFactor: NaN } : {};
  const scaling: Record<string, unknown> = { type };
  for (const name of PARAMETERS[type])
    scaling[name] = given[name] === undefined && name in defaults ? defaults[name] : parsePositive(`scaling.${name}`, given[name]);
  const { factor, attentionFactor, lowFrequencyFactor, highFrequencyFactor } = scaling as Readonly<Record<string, number>>;
  if (Number.isNaN(attentionFactor)) scaling["attentionFactor"] = (factor ?? 1) <= 1 ? 1 : 0.1 * Math.log(factor ?? 1) + 1;
  if (type === "llama3" && (highFrequencyFactor ?? 0) <= (lowFrequencyFactor ?? 0))
    throw new RangeError(`"scaling.highFrequencyFactor" expected more than the ${lowFrequencyFactor} of lowFrequencyFactor, got ${highFrequencyFactor}`);
  return scaling as unknown as RotaryScaling;
}

/** A positive number that f32 can hold. */
export function parsePositive(name: string, value: unknown): number {
  if (value === undefined) throw new TypeError(`"${name}" expected a number, got undefined`);
  const number = parseFinite(name, value, 0);
  if (number <= 0) throw new RangeError(`"${name}" expected a positive number, got ${number}`);
  return number;
}

/** The angle of each pair per position, and what cosines and sines are multiplied by, for a text of `length` tokens. */
export function frequencies(
  base: number,
  rotaryDim: number,
  scaling: RotaryScaling | undefined,
  length: number,
): { readonly perPosition: Float64Array; readonly gain: number } {
  if (scaling?.type === "dynamic") {
    const { factor, originalLength } = scaling;
    base *= ((factor * Math.max(length, originalLength)) / originalLength - (factor - 1)) ** (rotaryDim / (rotaryDim - 2));
  }
  const perPosition = Float64Array.from({ length: rotaryDim / 2 }, (_, i) => base ** ((-2 * i) / rotaryDim));
  switch (scaling?.type) {
    case undefined:
    case "dynamic":
      return { perPosition, gain: 1 };
    case "linear":
      return { perPosition: perPosition.map((f) => f / scaling.factor), gain: 1 };
    case "llama3": {
      const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalLength } = scaling;
      const blend = (f: number): number => {
        const share = clamp(((originalLength * f) / (2 * Math.PI) - low) / (high - low));
        return (1 - share) * (f / factor) + share * f;
      };
      return { perPosition: perPosition.map(blend), gain: 1 };
    }
    case "yarn": {
      const { factor, originalLength, betaFast = 32, betaSlow = 1, attentionFactor = 1 } = scaling;
      // The pair that makes `turns` turns within the original length.
      const pairOf = (turns: number): number => (rotaryDim * Math.log(originalLength / (turns * 2 * Math.PI))) / (2 * Math.log(base));
      const first = Math.max(Math.floor(pairOf(betaFast)), 0);
      const last = Math.min(Math.ceil(pairOf(betaSlow)), rotaryDim - 1);
      const span = first === last ? 0.001 : last - first;
      const blend = (f: number, i: number): number => {
        const share = 1 - clamp((i - first) / span);
        return (f / factor) * (1 - share) + f * share;
      };
      return { perPosition: perPosition.map(blend), gain: attentionFactor };
    }
    default:
      return scaling satisfies never;
  }
}

function clamp(x: number): number {
  return Math.min(Math.max(x, 0), 1);
}
