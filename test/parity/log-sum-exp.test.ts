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
import { describeSubjects } from "../support/subjects.ts";

const sample = memoize((dtype: FloatType, kind: Kind, shape: readonly number[], axes: readonly number[]) => {
  const x = numbersOf(dtype, kind, countOf(shape));
  return { x, y: logSumExp({ values: x, shape }, { axes: axesOf(axes, shape.length) }) };
});

describeSubjects("logSumExp", (subject) => {
  describe.each(subject.dtypes)("%s", (dtype) => {
    const tolerance = toleranceOf("logSumExp", dtype, subject.kind);

    test.each(byName([...SIZE_CASES, ...AXIS_CASES]))("%s", async (_, { shape, axis }) => {
      for (const kind of ALL_KINDS) {
        const { x, y } = sample(dtype, kind, shape, [axis]);
        const result = await subject.logSumExp(tensor(x, shape), { axis });
        expect(result.shape).toEqual(reducedShape(shape, [axis]));
        expect(result.dtype).toBe(dtype);
        expectClose(result.data, y, tolerance, kind);
      }
    });

    test.each(byName(REDUCTION_CASES))("%s", async (_, { shape, axes }) => {
      for (const kind of ALL_KINDS) {
        const { x, y } = sample(dtype, kind, shape, axes);
        for (const keepDims of [false, true]) {
          const result = await subject.logSumExp(tensor(x, shape), { axis: axes, keepDims });
          expect(result.shape).toEqual(reducedShape(shape, axes, keepDims));
          expect(result.dtype).toBe(dtype);
          expectClose(result.data, y, tolerance, `${kind}, keepDims ${keepDims}`);
        }
      }
    });
  });

  test.each(byName(MODEL_CASES))("%s", async (_, { shape, axis }) => {
    const { x, y } = sample("f32", "normal", shape, [axis]);
    expectClose((await subject.logSumExp(tensor(x, shape), { axis })).data, y, toleranceOf("logSumExp", "f32", subject.kind));
  });

  test("the order of the axes does not matter, to the bit", async () => {
    const shape = [6, 50, 7];
    const x = tensor(numbersOf("f32", "wide", countOf(shape)), shape);
    expect(await subject.logSumExp(x, { axis: [2, 0] })).toEqual(await subject.logSumExp(x, { axis: [0, -1] }));
  });

  test("over no axes it is the input", async () => {
    const x = new Float32Array([1, -0.5, 88.8, -Infinity, 3e38, ...(subject.propagates ? [Infinity, NaN] : []), ...(subject.denormals ? [-1e-40] : [])]);
    expect([...(await subject.logSumExp(x, { axis: [] })).data]).toEqual([...x]);
  });
});
