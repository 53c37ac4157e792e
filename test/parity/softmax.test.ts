import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { AXIS_CASES, EMPTY_CASES, MODEL_CASES, SIZE_CASES } from "../cases/rows.ts";
import { countOf } from "../reference/indices.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { ALL_KINDS, STANDARD_KINDS, type Kind, numbersOf } from "../support/numbers.ts";
import { ALGORITHMS, expected } from "../support/operands.ts";
import { type FloatType, expectClose, toleranceOf } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";

const sample = memoize((dtype: FloatType, kind: Kind, shape: readonly number[], axis: number) => {
  const x = numbersOf(dtype, kind, countOf(shape));
  return { x, y: expected("softmax", x, shape, { axis }) };
});

describeSubjects("softmax", (subject) => {
  const f32 = toleranceOf("softmax", "f32", subject.kind);

  describe.each(ALGORITHMS)("%s", (algorithm) => {
    const kinds = algorithm === "standard" ? STANDARD_KINDS : ALL_KINDS;

    test.each(byName([...SIZE_CASES, ...AXIS_CASES]))("%s", async (_, { shape, axis }) => {
      for (const kind of kinds) {
        const { x, y } = sample("f32", kind, shape, axis);
        const result = await subject.softmax(tensor(x, shape), { axis, algorithm });
        expect(result.shape).toEqual(shape);
        expect(result.dtype).toBe("f32");
        expectClose(result.data, y, f32, kind);
      }
    });

    test.each(byName(EMPTY_CASES))("%s", async (_, { shape, axis }) => {
      const result = await subject.softmax(tensor(new Float32Array(0), shape), { axis, algorithm });
      expect(result).toEqual({ data: new Float32Array(0), shape, dtype: "f32" });
    });
  });

  const describeF64 = subject.dtypes.includes("f64") ? describe : undefined;
  describeF64?.("f64", () => {
    const f64 = toleranceOf("softmax", "f64", "wasm");

    test.each(byName([...SIZE_CASES, ...AXIS_CASES]))("%s", async (_, { shape, axis }) => {
      for (const kind of ALL_KINDS) {
        const { x, y } = sample("f64", kind, shape, axis);
        const result = await subject.softmax(tensor(x, shape), { axis });
        expect(result.shape).toEqual(shape);
        expect(result.dtype).toBe("f64");
        expectClose(result.data, y, f64, kind);
      }
    });

    test("beyond what f32 can hold", async () => {
      const x = new Float64Array([1e300, 1e300, -1e300, 709, 1e308]);
      expectClose((await subject.softmax(x)).data, [0, 0, 0, 0, 1], f64);
      expectClose((await subject.softmax(new Float64Array([-1.7e308, -1.7e308]))).data, [0.5, 0.5], f64);
    });

    test.each(byName(EMPTY_CASES))("%s", async (_, { shape, axis }) => {
      expect(await subject.softmax(tensor(new Float64Array(0), shape), { axis })).toEqual({ data: new Float64Array(0), shape, dtype: "f64" });
    });
  });

  describe("shapes of models", () => {
    test.each(byName(MODEL_CASES))("%s", async (_, { shape, axis }) => {
      const { x, y } = sample("f32", "normal", shape, axis);
      for (const algorithm of ["auto", "safe"] as const) {
        expectClose((await subject.softmax(tensor(x, shape), { axis, algorithm })).data, y, f32, algorithm);
      }
    });
  });

  test("standard overflows above 88.72, where the others do not", async () => {
    const x = new Float32Array([1, 88.8, 2]);
    if (subject.propagates) expect([...(await subject.softmax(x, { algorithm: "standard" })).data]).toEqual([0, NaN, 0]);
    for (const algorithm of ["safe", "online", "auto"] as const) {
      expectClose((await subject.softmax(x, { algorithm })).data, expected("softmax", x, [3], { axis: 0 }), f32, algorithm);
    }
  });

  test("standard overflows in the sum, where no exponential does", async () => {
    const x = new Float32Array(5000).fill(85);
    if (subject.propagates) expect([...new Set((await subject.softmax(x, { algorithm: "standard" })).data)]).toEqual([0]);
    expectClose((await subject.softmax(x, { algorithm: "safe" })).data, new Float64Array(5000).fill(1 / 5000), f32);
  });

  test("standard underflows below -87.34, where the others do not", async () => {
    const x = new Float32Array([-90, -90]);
    if (subject.propagates) expect([...(await subject.softmax(x, { algorithm: "standard" })).data]).toEqual([NaN, NaN]);
    expect([...(await subject.softmax(x, { algorithm: "online" })).data]).toEqual([0.5, 0.5]);
  });
});
