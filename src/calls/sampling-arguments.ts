import { describe } from "../errors/errors.ts";
import { parseObject } from "../errors/options.ts";
import type { ResultType } from "../tensor/array.ts";
import { parseAxis } from "../tensor/shape.ts";
import type { View } from "../tensor/tensor.ts";
import { parseF32, parseOutput } from "./arguments.ts";
import type { Operand, Result } from "./call.ts";

/** Checks logits and the axis along which their rows lie: f32, with at least one element in a row. */
export function parseLogits(name: string, value: unknown, axis: unknown = -1): { readonly logits: View; readonly axis: number; readonly cols: number } {
  const logits = parseF32(name, value);
  const along = parseAxis(axis, logits.shape.length);
  const cols = logits.shape[along];
  if (cols === undefined || cols === 0)
    throw new RangeError(`"${name}" expected at least one element along axis ${along}, got shape ${describe(logits.shape)}`);
  return { logits, axis: along, cols };
}

/** An integer of at least `least`, and at most `most`. */
export function parseInteger(name: string, value: unknown, least: number, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== "number") throw new TypeError(`"${name}" expected an integer, got ${describe(value)}`);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new RangeError(
      `"${name}" expected an integer ${most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`}, got ${value}`,
    );
  return value;
}

/** The results of a call with several: shapes and dtypes by name, and for each the `out` that the caller gave. */
export function parseResults<N extends string>(
  out: unknown,
  wanted: Readonly<Record<N, { readonly shape: readonly number[]; readonly dtype: ResultType; readonly inPlace?: View | undefined }>>,
  reads: Readonly<Record<string, Operand | undefined>>,
): Readonly<Record<N, Result>> {
  const given = out === undefined ? {} : parseObject("out", out);
  for (const name in given) if (!(name in wanted)) throw new TypeError(`"out.${name}" is no result here; expected ${Object.keys(wanted).join(", ")}`);
  const taken: Record<string, Operand | undefined> = { ...reads };
  const results: Partial<Record<N, Result>> = {};
  for (const name in wanted) {
    const { shape, dtype, inPlace } = wanted[name];
    const others = inPlace === undefined ? taken : Object.fromEntries(Object.entries(taken).filter(([, operand]) => operand !== inPlace));
    const output = parseOutput(given[name], shape, dtype, inPlace, others, `out.${name}`);
    results[name] = { shape, dtype, out: output };
    taken[`out.${name}`] = output;
  }
  return results as Readonly<Record<N, Result>>;
}
