import { describe, expect, test } from "vitest";
import type { TensorLike } from "../../src/index.ts";
import { type AttentionCase, DIM_CASES, OPTION_CASES } from "../cases/attention.ts";
import { COMBINED_OPTIONS, type OptionCase } from "../cases/attention-options.ts";
import { AXIS_CASES, SIZE_CASES } from "../cases/rows.ts";
import { countOf } from "../reference/indices.ts";
import { Placements, expectAttention, expectedOf, libraryOptions, operandsFor, shapesOf, toleranceFor } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { HALF_FORMS, fromHalf, halved, toHalf } from "../support/half.ts";
import { type Home, describeSubjects } from "../support/subjects.ts";
import { numbers } from "../support/numbers.ts";
import { OPS, call, expected } from "../support/operands.ts";
import { expectClose, toleranceOf } from "../support/tolerances.ts";

// Operands in f16, computed in f32 (SEMANTICS 13): as exact as f32 operands of the same values.

describe("f16 by its bits", () => {
  test("all of them there and back", () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = fromHalf(bits);
      if (Number.isNaN(value)) expect(toHalf(value)).toBe(0x7e00);
      else if (toHalf(value) !== bits) expect(toHalf(value), `of the bits ${bits}`).toBe(bits);
    }
  });

  test("the nearest, ties to even", () => {
    expect([1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, -(2 ** -24), 2 ** -25, 2 ** -25 * 1.01, 2047.9, 4095].map(toHalf)).toEqual([
      0x3c00, 0x3c00, 0x3c02, 0x7bff, 0x7c00, 0x8001, 0, 1, 0x6800, 0x6c00,
    ]);
  });
});

interface Place {
  readonly name: string;
  readonly home: Home;
  readonly form?: (bits: Uint16Array) => ArrayBufferView;
}

describeSubjects("f16 operands", (subject) => {
  /** In arrays of the caller's of either kind, and wherever else the subject has its operands. */
  const arrays = HALF_FORMS.map(([name, form]): Place => ({ name, home: "array", form }));
  const places: readonly Place[] = subject.homes.flatMap((home) => (home === "array" ? arrays : [{ name: home, home }]));

  /** A tensor of f16. */
  async function put({ form }: Place, bits: Uint16Array, shape: readonly number[]): Promise<{ tensor: TensorLike; dispose(): void }> {
    if (form !== undefined) return { tensor: { data: form(bits), shape, dtype: "f16" }, dispose: () => undefined };
    const kept = await subject.keepHalves?.(bits);
    if (kept === undefined) throw new Error("f16 expected a subject that knows it");
    return { tensor: kept.view(0, shape), dispose: () => kept.dispose() };
  }

  describe.each(OPS)("%s", (op) => {
    test.each(byName([...SIZE_CASES, ...AXIS_CASES]))("%s", async (_, { shape, axis }) => {
      for (const kind of ["normal", "wide", "holes"] as const) {
        const { bits, values } = halved(numbers(kind, countOf(shape)));
        for (const place of places) {
          const x = await put(place, bits, shape);
          const result = await call(subject, op, x.tensor, { axis });
          expect(result.dtype).toBe("f32");
          expectClose(await subject.read(result), expected(op, values, shape, { axis }), toleranceOf(op, "f32", subject.kind), `${kind}, ${place.name}`);
          x.dispose();
        }
      }
    });
  });

  async function check(c: AttentionCase, { optionsFor }: OptionCase, label: string): Promise<void> {
    const { q, k, v } = operandsFor(c);
    const halves = { q: halved(q), k: halved(k), v: halved(v) };
    const operands = { sizes: c, q: halves.q.values, k: halves.k.values, v: halves.v.values };
    const options = optionsFor(c);
    const shapes = shapesOf(c);
    for (const place of places) {
      const [qt, kt, vt] = [await put(place, halves.q.bits, shapes.q), await put(place, halves.k.bits, shapes.k), await put(place, halves.v.bits, shapes.v)];
      const placements = new Placements(subject, place.home);
      const { out, lse } = await subject.attention(qt.tensor, kt.tensor, vt.tensor, { ...(await libraryOptions(options, c, placements)), returnLse: true });
      const result = { out: (await subject.read(out)) as Float32Array, lse: (await subject.read(lse)) as Float32Array };
      expectAttention(result, expectedOf(operands, options), toleranceFor(operands, options, subject.kind), `${label}, ${place.name}`);
      placements.dispose();
      for (const kept of [qt, kt, vt]) kept.dispose();
    }
  }

  const OPTIONS: readonly OptionCase[] = [
    { name: "no option", optionsFor: () => ({}) },
    { name: "causal", optionsFor: () => ({ causal: true }) },
    ...COMBINED_OPTIONS,
  ];

  describe.each(byName(OPTION_CASES))("%s", (_, c) => {
    test.each(byName(OPTIONS))("%s", (name, option) => check(c, option, name));
  });

  test.each(byName(DIM_CASES.filter(({ dim, valueDim }) => dim <= 256 && valueDim <= 256)))("%s", async (_, c) => {
    for (const option of OPTIONS.filter(({ name }) => name === "no option" || name === "everything")) await check(c, option, option.name);
  });
});
