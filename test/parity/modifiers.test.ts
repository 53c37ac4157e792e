import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { BROADCAST_CASES } from "../cases/rows.ts";
import { countOf } from "../reference/indices.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { maskBytes, numbersOf } from "../support/numbers.ts";
import { OPS, call, expected } from "../support/operands.ts";
import { type FloatType, expectClose, toleranceOf, withModifiers } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";

const SCALE = 0.7;

/** An input, a bias and a mask, and what each combination of them gives. */
const sample = memoize((dtype: FloatType, shape: readonly number[], operand: readonly number[], axis: number) => {
  const x = numbersOf(dtype, "normal", countOf(shape));
  const bias = { values: numbersOf(dtype, "normal", countOf(operand), 2), shape: operand };
  const mask = { values: maskBytes(countOf(operand)), shape: operand };
  const magnitude = [...x, ...bias.values].reduce((most, v) => Math.max(most, Math.abs(v)), 0) * (1 + SCALE);
  const results = OPS.map((op) => ({
    op,
    bias: expected(op, x, shape, { axis, scale: SCALE, bias }),
    mask: expected(op, x, shape, { axis, mask }),
    both: expected(op, x, shape, { axis, scale: SCALE, bias, mask, safe: true }),
  }));
  return { x, bias: tensor(bias.values, operand), mask: { data: mask.values, shape: operand }, magnitude, results };
});

describeSubjects("scale, bias and mask", (subject) => {
  describe.each(subject.dtypes)("%s", (dtype) => {
    test.each(byName(BROADCAST_CASES))("%s", async (_, { shape, axis, operand }) => {
      const { x, bias, mask, magnitude, results } = sample(dtype, shape, operand, axis);
      for (const { op, ...y } of results) {
        const modified = withModifiers(op, dtype, magnitude, subject.kind);
        expectClose((await call(subject, op, tensor(x, shape), { axis, scale: SCALE, bias })).data, y.bias, modified, `${op} with bias`);
        expectClose((await call(subject, op, tensor(x, shape), { axis, mask })).data, y.mask, toleranceOf(op, dtype, subject.kind), `${op} with mask`);
        expectClose((await call(subject, op, tensor(x, shape), { axis, scale: SCALE, bias, mask, safe: true })).data, y.both, modified, `${op} with both`);
      }
    });

    test.each([0.25, 1, -1, 0, 100, 1e-3])("scale %d", async (scale) => {
      for (const n of [1, 5, 16, 33, 1025]) {
        const x = numbersOf(dtype, "normal", 3 * n);
        for (const op of OPS) {
          const y = expected(op, x, [3, n], { axis: 1, scale });
          expectClose(
            (await call(subject, op, tensor(x, [3, n]), { scale })).data,
            y,
            withModifiers(op, dtype, 8 * Math.abs(scale), subject.kind),
            `${op}, ${n}`,
          );
        }
      }
    });

    test("scale comes first, then the bias, then the mask", async () => {
      const x = numbersOf(dtype, "ties", 4);
      x.set([1, 2, 3, NaN]);
      const bias = numbersOf(dtype, "ties", 4);
      bias.set([10, 0, 0, NaN]);
      const mask = new Uint8Array([1, 255, 0, 0]);
      // 2 · 1 + 10 and 2 · 2; with the bias scaled as well it would be 22 and 4.
      const y = (await subject.logSumExp(x, { scale: 2, bias, mask })).data;
      expectClose(y, [12 + Math.log1p(Math.exp(-8))], toleranceOf("logSumExp", dtype, subject.kind));
    });

    test("what the mask removes is not looked at, NaN and +inf included", async () => {
      for (const n of [2, 5, 17, 1025]) {
        const x = numbersOf(dtype, "normal", n);
        const mask = new Uint8Array(n).fill(1);
        const clean = (await subject.softmax(x, { mask: withZeros(mask, 0, n - 1) })).data;
        x[0] = NaN;
        x[n - 1] = Infinity;
        expect((await subject.softmax(x, { mask })).data).toEqual(clean);
        expect((await subject.logSumExp(x, { mask })).data[0]).not.toBeNaN();
        const bias = numbersOf(dtype, "normal", n).fill(0);
        bias[0] = NaN;
        expect((await subject.softmax(x, { mask, bias })).data).toEqual(clean);
      }
    });

    test("a row that the mask removes altogether", async () => {
      const x = tensor(numbersOf(dtype, "normal", 6), [2, 3]);
      const mask = { data: new Uint8Array([0, 0, 0, 1, 1, 1]), shape: [2, 3] };
      const nothing = (result: { data: Float32Array | Float64Array }): number[] => [...result.data.subarray(0, 3)];
      expect(nothing(await subject.softmax(x, { mask }))).toEqual([NaN, NaN, NaN]);
      expect(nothing(await subject.softmax(x, { mask, safe: true }))).toEqual([0, 0, 0]);
      expect(nothing(await subject.logSoftmax(x, { mask }))).toEqual([NaN, NaN, NaN]);
      expect(nothing(await subject.logSoftmax(x, { mask, safe: true }))).toEqual([-Infinity, -Infinity, -Infinity]);
      expect((await subject.logSumExp(x, { mask })).data[0]).toBe(-Infinity);
    });

    test("-inf in the bias masks", async () => {
      const x = numbersOf(dtype, "normal", 3);
      const bias = numbersOf(dtype, "normal", 3).fill(0);
      bias[1] = -Infinity;
      expect((await subject.softmax(x, { bias })).data).toEqual((await subject.softmax(x, { mask: new Uint8Array([1, 0, 1]) })).data);
    });

    test("scale 0 makes a row uniform, and leaves infinities undefined", async () => {
      const x = numbersOf(dtype, "normal", 4);
      expect([...(await subject.softmax(x, { scale: 0 })).data]).toEqual([0.25, 0.25, 0.25, 0.25]);
      x[2] = -Infinity;
      // 0 · −∞ is NaN; on the GPU −inf means masked before anything is multiplied with it.
      if (subject.propagates) expect([...(await subject.softmax(x, { scale: 0 })).data]).toEqual([NaN, NaN, NaN, NaN]);
    });
  });

  test("bias and mask with strides, offsets and of other typed arrays", async () => {
    const shape = [3, 5];
    const x = tensor(numbersOf("f32", "normal", 15), shape);
    const plain = { bias: tensor(numbersOf("f32", "normal", 15, 2), shape), mask: { data: maskBytes(15), shape } };
    const y = (await subject.softmax(x, { ...plain, safe: true })).data;
    // Column by column, in a larger array.
    const bias = new Float32Array(40).fill(NaN);
    const mask = new Int8Array(40).fill(1);
    for (let r = 0; r < 3; r++) {
      for (let c = 0; c < 5; c++) {
        bias[7 + c * 4 + r] = plain.bias.data[r * 5 + c] ?? NaN;
        mask[7 + c * 4 + r] = plain.mask.data[r * 5 + c] === 0 ? 0 : -1;
      }
    }
    const strided = { bias: tensor(bias.subarray(7), shape, { strides: [1, 4] }), mask: { data: mask.subarray(7) as never, shape, strides: [1, 4] } };
    expect((await subject.softmax(x, { ...strided, safe: true })).data).toEqual(y);
    expect((await subject.softmax(x, { bias: plain.bias, mask: { data: plain.mask.data, dims: shape }, safe: true })).data).toEqual(y);
  });
});

function withZeros(mask: Uint8Array, ...indices: number[]): Uint8Array {
  for (const i of indices) mask[i] = 0;
  return mask;
}
