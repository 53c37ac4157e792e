import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { AXIS_CASES, MODEL_CASES, REDUCTION_CASES, SIZE_CASES } from "../cases/rows.ts";
import { countOf } from "../reference/indices.ts";
import { logSumExp } from "../reference/rows.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { ALL_KINDS, type Kind, numbersOf } from "../support/numbers.ts";
import { axesOf, reducedShape } from "../support/operands.ts";
import { type FloatType, expectClose, toleranceOf } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

const sample = memoize((dtype: FloatType, kind: Kind, shape: readonly number[], axes: readonly number[]) => {
  const x = numbersOf(dtype, kind, countOf(shape));
  return { x, y: logSumExp({ values: x, shape }, { axes: axesOf(axes, shape.length) }) };
});

describeVariants("logSumExp", (instance) => {
  describe.each(["f32", "f64"] as const)("%s", (dtype) => {
    const tolerance = toleranceOf("logSumExp", dtype);

    test.each(byName([...SIZE_CASES, ...AXIS_CASES]))("%s", (_, { shape, axis }) => {
      for (const kind of ALL_KINDS) {
        const { x, y } = sample(dtype, kind, shape, [axis]);
        const result = instance.logSumExp(tensor(x, shape), { axis });
        expect(result.shape).toEqual(reducedShape(shape, [axis]));
        expect(result.dtype).toBe(dtype);
        expectClose(result.data, y, tolerance, kind);
      }
    });

    test.each(byName(REDUCTION_CASES))("%s", (_, { shape, axes }) => {
      for (const kind of ALL_KINDS) {
        const { x, y } = sample(dtype, kind, shape, axes);
        for (const keepDims of [false, true]) {
          const result = instance.logSumExp(tensor(x, shape), { axis: axes, keepDims });
          expect(result.shape).toEqual(reducedShape(shape, axes, keepDims));
          expect(result.dtype).toBe(dtype);
          expectClose(result.data, y, tolerance, `${kind}, keepDims ${keepDims}`);
        }
      }
    });
  });

  test.each(byName(MODEL_CASES))("%s", (_, { shape, axis }) => {
    const { x, y } = sample("f32", "normal", shape, [axis]);
    expectClose(instance.logSumExp(tensor(x, shape), { axis }).data, y, toleranceOf("logSumExp", "f32"));
  });

  test("the order of the axes does not matter, to the bit", () => {
    const shape = [6, 50, 7];
    const x = tensor(numbersOf("f32", "wide", countOf(shape)), shape);
    expect(instance.logSumExp(x, { axis: [2, 0] })).toEqual(instance.logSumExp(x, { axis: [0, -1] }));
  });

  test("over no axes it is the input", () => {
    const x = new Float32Array([1, -0.5, 88.8, -Infinity, Infinity, NaN, -1e-40, 3e38]);
    expect([...instance.logSumExp(x, { axis: [] }).data]).toEqual([...x]);
  });
});
