import { compute } from "../backend/wasm/drivers/compute.ts";
import { type Runtime, defaultRuntime } from "../backend/wasm/module/runtime.ts";
import { planRotary } from "../backend/wasm/plans/rotary.ts";
import { parseF32, parseOutput } from "../calls/arguments.ts";
import { checkDim, parseIntegers } from "../calls/attention-arguments.ts";
import { headOperand } from "../calls/attention-call.ts";
import { type Layout, sizesOf } from "../calls/head-layout.ts";
import { type RotaryAngles, type RotaryCall, frequencies, parsePositive, parseScaling } from "../calls/rotary-call.ts";
import { describe } from "../errors/errors.ts";
import { checkOptions, parseChoice, parseFlag } from "../errors/options.ts";
import type { Tensor, TensorLike, View } from "../tensor/tensor.ts";

/** Options of {@link applyRotary}. */
export interface RotaryOptions extends RotaryAngles {
  /**
   * The position of the first row, those after it following (default 0), or one position for each row [T], or for each row of each batch
   * entry [B, T].
   */
  readonly positions?: number | Int32Array | readonly number[];
  /** Order of the dimensions. Default "bhld". */
  readonly layout?: Layout;
  /** Receives the result, as for `softmax`. May be `x` itself. */
  readonly out?: TensorLike;
}

const ANGLE_OPTIONS: readonly string[] = ["base", "rotaryDim", "interleaved", "scaling"];
// Marked as pure, so that bundlers drop it from programs without rotary embedding.
const KNOWN = /* @__PURE__ */ new Set(/* @__PURE__ */ ANGLE_OPTIONS.concat("positions", "layout", "out"));

/**
 * Rotary position embedding (Su et al., arXiv:2104.09864) of queries or keys: pairs of each head's dimensions turn by angles that grow
 * with the position. Angles are computed in f64.
 *
 * @param x - [B, H, T, E], or [B, T, H, E] with layout "blhd"; fewer leading dimensions are fine; f32, f16, bf16 or i8 with scales
 * @param options - see {@link RotaryOptions}
 * @returns an f32 tensor of the same shape; stored in `out` if given
 * @throws TypeError if an argument has the wrong type, RangeError if a value or shape does not fit, UnsupportedError for head dimensions
 *   above 1024, DisposedError if a tensor has been disposed. On error nothing is written
 *
 * @example
 * ```ts
 * const x = tensor(new Float32Array([1, 0, 0, 0]), [1, 4]);
 * applyRotary(x, { positions: 1 }).data; // [0.5403, 0, 0.8415, 0]
 * ```
 */
export function applyRotary(x: TensorLike, options?: RotaryOptions): Tensor<"f32"> {
  return applyRotaryOn(defaultRuntime(), x, options);
}

/** The same with the kernels of a given runtime. @internal */
export function applyRotaryOn(runtime: Runtime, x: TensorLike, options?: RotaryOptions): Tensor<"f32"> {
  return compute(runtime, planRotary, parseRotary(x, options));
}

/** Checks the arguments of applyRotary. @internal */
export function parseRotary(value: unknown, options: RotaryOptions = {}): RotaryCall {
  checkOptions(options, KNOWN);
  const layout = parseChoice<Layout>("layout", options.layout, ["bhld", "blhd"]);
  const x = parseF32("x", value);
  return rotaryCall(x, layout, options, options.positions, options.out);
}

/** Keys turned by their positions, one for each row of each batch entry. @internal */
export function turnKeys(runtime: Runtime, k: View, layout: Layout, angles: RotaryAngles, positions: readonly number[]): Tensor<"f32"> {
  checkOptions(angles, new Set(ANGLE_OPTIONS));
  return compute(runtime, planRotary, rotaryCall(k, layout, angles, positions, undefined));
}

function rotaryCall(x: View, layout: Layout, options: RotaryAngles, positions: unknown, wanted: unknown): RotaryCall {
  if (x.shape.length < 2 || x.shape.length > 4) throw new RangeError(`"x" expected 2 to 4 dimensions, got shape ${describe(x.shape)}`);
  const sizes = sizesOf(x.shape, layout);
  checkDim("x", sizes.dim);
  const { rotaryDim, interleaved, angles } = parseAngles(options, sizes.dim, parsePositions(positions, sizes.batch, sizes.length));
  const out = parseOutput(wanted, x.shape, "f32", x, {});
  return {
    kind: "rotary",
    op: "applyRotary",
    operands: { x: headOperand(x, layout) },
    sizes,
    layout,
    rotaryDim,
    interleaved,
    angles,
    results: { out: { shape: x.shape, dtype: "f32", out } },
  };
}

/** Checks what determines the angles, and computes them for some positions. */
function parseAngles(
  { base, rotaryDim, interleaved, scaling }: RotaryAngles,
  dim: number,
  positions: readonly number[],
): Pick<RotaryCall, "rotaryDim" | "interleaved" | "angles"> {
  const turning: unknown = rotaryDim ?? dim;
  if (typeof turning !== "number") throw new TypeError(`"rotaryDim" expected an even number, got ${describe(turning)}`);
  if (!Number.isInteger(turning) || turning < 2 || turning % 2 !== 0 || turning > dim)
    throw new RangeError(`"rotaryDim" expected an even number from 2 to ${dim}, got ${turning}`);
  const length = positions.reduce((most, p) => Math.max(most, p + 1), 0);
  const { perPosition, gain } = frequencies(base === undefined ? 10000 : parsePositive("base", base), turning, parseScaling(scaling), length);
  const half = turning / 2;
  const angles = new Float32Array(positions.length * turning);
  positions.forEach((position, row) => {
    perPosition.forEach((frequency, i) => {
      angles[row * turning + i] = Math.cos(position * frequency) * gain;
      angles[row * turning + half + i] = Math.sin(position * frequency) * gain;
    });
  });
  return { rotaryDim: turning, interleaved: parseFlag("interleaved", interleaved), angles };
}

function parsePositions(value: unknown, batch: number, length: number): readonly number[] {
  const given = value === undefined ? [0] : typeof value === "number" ? parseIntegers("positions", [value]) : parseIntegers("positions", value, "an integer, ");
  if (value === undefined || typeof value === "number") return Array.from({ length }, (_, i) => (given[0] ?? 0) + i);
  if (given.length !== length && given.length !== batch * length)
    throw new RangeError(
      `"positions" expected a number, one for each row (${length}) or one for each row of each batch entry (${batch * length}), got ${given.length}`,
    );
  return given;
}
