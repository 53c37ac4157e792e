import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { AXIS_CASES, EMPTY_CASES, SIZE_CASES } from "../cases/rows.ts";
import { countOf } from "../reference/indices.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { ALL_KINDS, type Kind, numbersOf } from "../support/numbers.ts";
import { expected } from "../support/operands.ts";
import { type FloatType, expectClose, toleranceOf } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";

const sample = memoize((dtype: FloatType, kind: Kind, shape: readonly number[], axis: number) => {
  const x = numbersOf(dtype, kind, countOf(shape));
  return { x, y: expected("logSoftmax", x, shape, { axis }) };
});

describeSubjects("logSoftmax", (subject) => {
  describe.each(subject.dtypes)("%s", (dtype) => {
    test.each(byName([...SIZE_CASES, ...AXIS_CASES]))("%s", async (_, { shape, axis }) => {
      for (const kind of ALL_KINDS) {
        const { x, y } = sample(dtype, kind, shape, axis);
        const result = await subject.logSoftmax(tensor(x, shape), { axis });
        expect(result.shape).toEqual(shape);
        expect(result.dtype).toBe(dtype);
        expectClose(result.data, y, toleranceOf("logSoftmax", dtype, subject.kind), kind);
      }
    });

    test.each(byName(EMPTY_CASES))("%s", async (_, { shape, axis }) => {
      const data = numbersOf(dtype, "normal", 0);
      expect(await subject.logSoftmax(tensor(data, shape), { axis })).toEqual({ data, shape, dtype });
    });
  });

  test("the logarithm of a probability that is itself too small for a float", async () => {
    const x = new Float32Array([1000, 0, -1000]);
    expect([...(await subject.softmax(x)).data]).toEqual([1, 0, 0]);
    expect([...(await subject.logSoftmax(x)).data]).toEqual([0, -1000, -2000]);
  });
});
