import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { LOGITS, LOGITS_SIZES } from "../cases/logits.ts";
import { descending, topKSoftmax } from "../reference/sampling.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { numbers } from "../support/numbers.ts";
import { describeSubjects } from "../support/subjects.ts";
import { SAMPLING, expectClose } from "../support/tolerances.ts";

const sample = memoize((name: string, cols: number) => {
  const x = LOGITS.find((c) => c.name === name)?.row(cols) ?? new Float32Array();
  return { x, order: descending(x) };
});

const million = memoize(() => {
  const x = numbers("normal", 1_000_000);
  x[999_999] = x[123_456] = 40;
  return { x, expected: topKSoftmax(x, 300) };
});

const countsFor = (cols: number): number[] => [1, 2, 5, 50, 1024, cols - 1, cols].filter((k, i, all) => k >= 1 && k <= cols && all.indexOf(k) === i);

describeSubjects("topK and topKSoftmax", (subject) => {
  const tolerance = SAMPLING.topKSoftmax;

  describe.each(byName(LOGITS))("%s", (name) => {
    test.each(LOGITS_SIZES)("%d columns", async (cols) => {
      const { x, order } = sample(name, cols);
      for (const k of countsFor(cols)) {
        const { values, indices } = await subject.topK(x, k);
        expect([...indices.data], `indices, k ${k}`).toEqual(order.slice(0, k));
        expect([...values.data], `values, k ${k}`).toEqual(order.slice(0, k).map((i) => x[i]));
        for (const scale of [1, 0.25]) {
          const expected = topKSoftmax(x, k, scale, order);
          const actual = await subject.topKSoftmax(x, k, { scale });
          expect([...actual.indices.data], `indices, k ${k}, scale ${scale}`).toEqual(expected.indices);
          expectClose(actual.logProbs.data, expected.logProbs, tolerance, `k ${k}, scale ${scale}`);
        }
      }
    });
  });

  test("a million columns", async () => {
    const { x, expected } = million();
    const actual = await subject.topKSoftmax(x, 300);
    expect([...actual.indices.data]).toEqual(expected.indices);
    expectClose(actual.logProbs.data, expected.logProbs, tolerance);
    expect([...(await subject.topK(x, 300)).indices.data]).toEqual(expected.indices);
  });

  test("NaN is the largest, and +inf next; log-probabilities are NaN then, and in a row of −inf", async () => {
    for (const at of [0, 1500, 2999]) {
      const x = numbers("normal", 3000);
      x[at] = NaN;
      x[1000] = Infinity;
      expect([...(await subject.topK(x, 3)).indices.data]).toEqual(descending(x).slice(0, 3));
      const { indices, logProbs } = await subject.topKSoftmax(x, 3);
      expect([...indices.data]).toEqual(descending(x).slice(0, 3));
      expect([...logProbs.data]).toEqual([NaN, NaN, NaN]);
    }
    const infinite = Float32Array.of(1, Infinity, -Infinity, 2);
    expect([...(await subject.topKSoftmax(infinite, 2)).logProbs.data]).toEqual([NaN, NaN]);
    const removed = await subject.topKSoftmax(new Float32Array(2000).fill(-Infinity), 3);
    expect([...removed.indices.data]).toEqual([0, 1, 2]);
    expect([...removed.logProbs.data]).toEqual([NaN, NaN, NaN]);
  });

  test("a sum that overflows hides nothing", async () => {
    const x = Float32Array.from({ length: 4000 }, (_, i) => (i % 3 === 0 ? -Infinity : 3e38 + (i % 17) * 1e36));
    expect([...(await subject.topK(x, 40)).indices.data]).toEqual(descending(x).slice(0, 40));
  });

  test.each<[string, readonly number[], number]>([
    ["rows", [7, 30], -1],
    ["columns", [30, 7], 0],
    ["the middle of five dimensions", [2, 3, 20, 1, 4], 2],
  ])("along %s, in arrays with gaps", async (_, shape, axis) => {
    const at = axis < 0 ? axis + shape.length : axis;
    const cols = shape[at] ?? 1;
    // Every other element of an array, so that nothing is contiguous.
    const strides = shape.map((_, d) => 2 * shape.slice(d + 1).reduce((a, b) => a * b, 1));
    const data = numbers("ties", 2 * shape.reduce((a, b) => a * b, 1));
    const k = 4;
    const sizes = shape.map((size, d) => (d === at ? k : size));
    const count = sizes.reduce((a, b) => a * b, 1);
    const outStrides = sizes.map((_, d) => 3 * sizes.slice(d + 1).reduce((a, b) => a * b, 1));
    const [values, indices] = [new Float32Array(3 * count).fill(-9), new Int32Array(3 * count).fill(-9)];
    const out = { values: tensor(values, sizes, { strides: outStrides }), indices: tensor(indices, sizes, { strides: outStrides }) };
    const result = await subject.topK({ data, shape, strides }, k, { axis, out });
    expect(result.values).toBe(out.values);
    expect(result.indices).toBe(out.indices);
    for (const [row, first] of rowsOf(shape, at)) {
      const x = Array.from({ length: cols }, (_, i) => data[row.reduce((sum, p, d) => sum + (d === at ? i : p) * (strides[d] ?? 0), 0)] ?? NaN);
      const place = (j: number): number => row.reduce((sum, p, d) => sum + (d === at ? j : p) * (outStrides[d] ?? 0), 0);
      expect(
        Array.from({ length: k }, (_, j) => indices[place(j)]),
        `row ${first}`,
      ).toEqual(descending(x).slice(0, k));
      expect(Array.from({ length: k }, (_, j) => values[place(j)])).toEqual(
        descending(x)
          .slice(0, k)
          .map((i) => x[i]),
      );
    }
    // What lies between the results is as it was.
    expect(indices.filter((v) => v === -9).length).toBe(2 * count);
  });

  test("all of the columns, which cross the memory order", async () => {
    const [rows, cols] = [100, 70];
    const x = numbers("ties", rows * cols);
    const { values, indices } = await subject.topK(tensor(x, [cols, rows]), cols, { axis: 0 });
    for (let r = 0; r < rows; r += 11) {
      const row = Array.from({ length: cols }, (_, c) => x[c * rows + r] ?? NaN);
      expect(Array.from({ length: cols }, (_, j) => indices.data[j * rows + r])).toEqual(descending(row));
      expect(Array.from({ length: cols }, (_, j) => values.data[j * rows + r])).toEqual(descending(row).map((i) => row[i]));
    }
  });

  test("logits in the subject's memory are not copied, nor changed", async () => {
    const x = numbers("normal", 9 * 700);
    const kept = await subject.keep(x);
    const { indices } = await subject.topK(kept.view(0, [9, 700]), 8);
    for (let r = 0; r < 9; r++) expect([...indices.data.slice(r * 8, r * 8 + 8)]).toEqual(descending(x.subarray(r * 700, r * 700 + 700)).slice(0, 8));
    expect([...(await kept.read())]).toEqual([...x]);
    kept.dispose();
  });

  test("many rows, in several stages", async () => {
    const [rows, cols] = [300, 1500];
    const x = numbers("ties", rows * cols);
    const { indices, values } = await subject.topK(tensor(x, [rows, cols]), 3);
    expect(values.shape).toEqual([rows, 3]);
    for (let r = 0; r < rows; r++) expect([...indices.data.slice(r * 3, r * 3 + 3)]).toEqual(descending(x.subarray(r * cols, (r + 1) * cols)).slice(0, 3));
  });
});

/** Every row's position, 0 along the axis. */
function rowsOf(shape: readonly number[], axis: number): [position: number[], first: number][] {
  let positions: number[][] = [[]];
  shape.forEach((size, d) => (positions = positions.flatMap((p) => Array.from({ length: d === axis ? 1 : size }, (_, i) => [...p, i]))));
  return positions.map((position, first) => [position, first]);
}
