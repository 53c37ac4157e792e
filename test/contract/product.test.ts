import { expect, test } from "vitest";
import { empty, linear, matmul, tensor } from "../../src/index.ts";
import { thrown } from "../support/thrown.ts";

// Bad input: the message in full, which starts with the quoted name of the argument, and nothing is written.

const zeros = (...shape: number[]) => tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);

test.each([
  ["a scalar", () => linear(zeros(), zeros(3, 2)), RangeError, '"x" expected a shape [..., K], got []'],
  ["another depth", () => linear(zeros(5, 4), zeros(3, 2)), RangeError, '"weight" expected a shape [N, 4] for "x" of shape [5, 4], got [3, 2]'],
  ["a weight of three dimensions", () => linear(zeros(2), zeros(1, 3, 2)), RangeError, '"weight" expected a shape [N, 2] for "x" of shape [2], got [1, 3, 2]'],
  ["a longer bias", () => linear(zeros(2), zeros(3, 2), { bias: zeros(4) }), RangeError, '"bias" expected shape [3], got [4]'],
  ["a bias per row", () => linear(zeros(2), zeros(3, 2), { bias: zeros(1, 3) }), RangeError, '"bias" expected shape [3], got [1, 3]'],
  ["f64", () => linear(new Float64Array(2), zeros(3, 2)), TypeError, '"x" expected dtype f32, got f64'],
  ["an option of PyTorch's module", () => linear(zeros(2), zeros(3, 2), { device: "cpu" } as never), TypeError, undefined],
  ["a vector", () => matmul(zeros(3), zeros(3, 2)), RangeError, '"a" expected a shape [..., M, K], got [3]'],
  ["another vector", () => matmul(zeros(2, 3), zeros(3)), RangeError, '"b" expected a shape [..., 3, N] for "a" of shape [2, 3], got [3]'],
  ["matrices that do not fit", () => matmul(zeros(2, 3), zeros(2, 3)), RangeError, '"b" expected a shape [..., 3, N] for "a" of shape [2, 3], got [2, 3]'],
  ["batches that do not fit", () => matmul(zeros(2, 1, 3), zeros(4, 3, 1)), RangeError, '"b" expected a shape that broadcasts to [2], got [4]'],
] as const)("%s", (_, run, type, message) => {
  const error = thrown(run);
  expect(error).toBeInstanceOf(type);
  if (message !== undefined) expect(error.message).toBe(message);
});

test("an output that overlaps an operand, or has another size, is not written", () => {
  const data = Float32Array.from({ length: 12 }, (_, i) => i);
  const before = data.slice();
  const x = tensor(data.subarray(0, 6), [3, 2]);
  const weight = tensor(new Float32Array(4), [2, 2]);
  expect(thrown(() => linear(x, weight, { out: data.subarray(4, 10) })).message).toBe('"out" overlaps "x"');
  expect(thrown(() => linear(x, weight, { out: data.subarray(6, 11) })).message).toBe('"out" expected 6 elements for shape [3, 2], got 5');
  expect(thrown(() => matmul(weight, weight, { out: weight })).message).toBe('"out" overlaps "a"');
  expect([...data]).toEqual([...before]);
});

test("matrices without elements", () => {
  expect(linear(zeros(0, 3), zeros(2, 3)).shape).toEqual([0, 2]);
  expect([...linear(zeros(2, 0), zeros(3, 0), { bias: Float32Array.of(1, 2, 3) }).data]).toEqual([1, 2, 3, 1, 2, 3]);
  expect([...matmul(zeros(1, 0), zeros(0, 2)).data]).toEqual([0, 0]);
});

test("a disposed tensor", () => {
  const weight = empty([2, 2]);
  weight.dispose();
  expect(thrown(() => linear(zeros(2), weight)).name).toBe("DisposedError");
});
