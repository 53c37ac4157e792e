// Rotary position embedding in float64, written after the papers and transformers/modeling_rope_utils.py, independent of src/.

export interface RotaryReference {
  readonly base?: number;
  readonly rotaryDim: number;
  readonly interleaved?: boolean;
  /** `rope_scaling` of Hugging Face. */
  readonly scaling?: Readonly<Record<string, number | string>>;
}

/** Inverse frequencies and attention factor, as transformers computes them for a sequence of `length` tokens. */
function inverseFrequencies({ base = 10000, rotaryDim: dim, scaling = {} }: RotaryReference, length: number): { frequencies: number[]; attention: number } {
  const of = (theta: number): number[] => Array.from({ length: dim / 2 }, (_, i) => 1 / theta ** ((2 * i) / dim));
  const number = (name: string): number => Number(scaling[name]);
  const [factor, original] = [number("factor"), number("originalLength")];
  switch (scaling["type"]) {
    case "linear":
      return { frequencies: of(base).map((f) => f / factor), attention: 1 };
    case "dynamic": {
      const sequence = Math.max(length, original);
      return { frequencies: of(base * ((factor * sequence) / original - (factor - 1)) ** (dim / (dim - 2))), attention: 1 };
    }
    case "llama3": {
      const [low, high] = [number("lowFrequencyFactor"), number("highFrequencyFactor")];
      const frequencies = of(base).map((f) => {
        const wavelength = (2 * Math.PI) / f;
        if (wavelength < original / high) return f;
        if (wavelength > original / low) return f / factor;
        const smooth = (original / wavelength - low) / (high - low);
        return ((1 - smooth) * f) / factor + smooth * f;
      });
      return { frequencies, attention: 1 };
    }
    case "yarn": {
      const correction = (rotations: number): number => (dim * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(base));
      const low = Math.max(Math.floor(correction(number("betaFast"))), 0);
      let high = Math.min(Math.ceil(correction(number("betaSlow"))), dim - 1);
      if (low === high) high += 0.001;
      const frequencies = of(base).map((f, i) => {
        const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
        return (f / factor) * ramp + f * (1 - ramp);
      });
      return { frequencies, attention: number("attentionFactor") };
    }
    default:
      return { frequencies: of(base), attention: 1 };
  }
}

/** Rotates rows [positions.length, dim]. */
export function rotary(values: ArrayLike<number>, dim: number, positions: readonly number[], options: RotaryReference): Float64Array {
  const { rotaryDim, interleaved = false } = options;
  const { frequencies, attention } = inverseFrequencies(options, Math.max(...positions) + 1);
  const out = Float64Array.from(values);
  positions.forEach((position, r) => {
    frequencies.forEach((frequency, i) => {
      const [a, b] = interleaved ? [2 * i, 2 * i + 1] : [i, i + rotaryDim / 2];
      const [x, y] = [values[r * dim + a] ?? NaN, values[r * dim + b] ?? NaN];
      const [cos, sin] = [Math.cos(position * frequency) * attention, Math.sin(position * frequency) * attention];
      out[r * dim + a] = x * cos - y * sin;
      out[r * dim + b] = x * sin + y * cos;
    });
  });
  return out;
}
