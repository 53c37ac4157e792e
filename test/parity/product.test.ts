import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { EDGE_PRODUCTS, LARGE_PRODUCTS, type ProductCase } from "../cases/products.ts";
import { plainProduct, product } from "../reference/product.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { numbers } from "../support/numbers.ts";
import { describeSubjects } from "../support/subjects.ts";
import { expectSameBits } from "../support/tolerances.ts";

/** Half an ULP of f32, relative. */
const EPS = 2 ** -24;

const transposed = (w: Float32Array, rows: number, cols: number): Float32Array =>
  Float32Array.from({ length: rows * cols }, (_, i) => w[(i % rows) * cols + Math.floor(i / rows)] ?? NaN);

const sample = memoize((rows: number, cols: number, depth: number) => {
  const [x, w, bias] = [numbers("normal", rows * depth, 1), numbers("normal", cols * depth, 2), numbers("normal", cols, 3)];
  const plain = [undefined, bias].map((b) => {
    const exact = product(x, w, rows, cols, depth, b);
    return { ...exact, bound: 2 * worst(plainProduct(x, w, rows, cols, depth, b), exact) };
  });
  return { x, w, wT: transposed(w, cols, depth), bias, plain };
});

/** The largest error, relative to the sum of the terms' magnitudes. */
function worst(actual: Float32Array, { values, magnitudes }: { readonly values: Float64Array; readonly magnitudes: Float64Array }): number {
  expect(actual.length).toBe(values.length);
  return actual.reduce((most, y, i) => Math.max(most, y === values[i] ? 0 : Math.abs(y - (values[i] ?? NaN)) / (magnitudes[i] ?? 0)), 0);
}

describeSubjects("linear and matmul", (subject) => {
  /** Errors are at most twice those of a plain loop in f32. Where that has next to none, a term may round twice, and once more with a bias. */
  async function check({ rows, cols, depth }: ProductCase): Promise<void> {
    const { x, w, wT, bias, plain } = sample(rows, cols, depth);
    const [without, withBias] = plain;
    if (without === undefined || withBias === undefined) throw new Error("no reference");
    const [xs, ws] = [tensor(x, [rows, depth]), tensor(w, [cols, depth])];
    const y = (await subject.linear(xs, ws)).data;
    expect(worst(y, without)).toBeLessThanOrEqual(Math.max(without.bound, 2 * EPS));
    expect(worst((await subject.linear(xs, ws, { bias })).data, withBias)).toBeLessThanOrEqual(Math.max(withBias.bound, 3 * EPS));
    expectSameBits((await subject.matmul(xs, tensor(wT, [depth, cols]))).data, y, "matmul");
    expectSameBits((await subject.matmul(xs, tensor(w, [depth, cols], { strides: [1, depth] }))).data, y, "matmul of a transposed view");
  }

  test("around the edges of tiles, vectors and blocks", async () => {
    for (const shape of EDGE_PRODUCTS) await check(shape);
  });

  test.each(byName(LARGE_PRODUCTS))("%s", async (_, shape) => check(shape));

  test("a row's bits do not depend on the other rows and columns", async () => {
    const [rows, cols, depth] = [7, 23, 600];
    const { x, w } = sample(rows, cols, depth);
    const whole = (await subject.linear(tensor(x, [rows, depth]), tensor(w, [cols, depth]))).data;
    for (let m = 0; m < rows; m++) {
      const row = (await subject.linear(x.slice(m * depth, (m + 1) * depth), tensor(w, [cols, depth]))).data;
      expectSameBits(row, whole.slice(m * cols, (m + 1) * cols), `row ${m}`);
    }
    const few = (await subject.linear(tensor(x, [rows, depth]), tensor(w.slice(3 * depth, 12 * depth), [9, depth]))).data;
    for (let m = 0; m < rows; m++) expectSameBits(few.slice(m * 9, m * 9 + 9), whole.slice(m * cols + 3, m * cols + 12), `columns of row ${m}`);
  });

  describe("batches", () => {
    test.each([
      ["the same for both", [3, 2], [3, 2]],
      ["b repeats", [3, 2], []],
      ["a repeats", [], [3, 2]],
      ["they repeat each other", [3, 1], [2]],
    ] as const)("%s", async (_, outerA, outerB) => {
      const [rows, cols, depth] = [3, 7, 9];
      const count = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
      const [a, b] = [numbers("normal", count(outerA) * rows * depth, 1), numbers("normal", count(outerB) * depth * cols, 2)];
      const result = await subject.matmul(tensor(a, [...outerA, rows, depth]), tensor(b, [...outerB, depth, cols]));
      expect(result.shape).toEqual([3, 2, rows, cols]);
      const part = (sizes: readonly number[], i: number, j: number): number =>
        sizes.length === 0 ? 0 : sizes.length === 1 ? j : i * (sizes[1] ?? 1) + (sizes[1] === 1 ? 0 : j);
      for (const [i, j] of [0, 1, 2].flatMap((i) => [0, 1].map((j) => [i, j] as const))) {
        const one = await subject.matmul(
          tensor(a.slice(part(outerA, i, j) * rows * depth).subarray(0, rows * depth), [rows, depth]),
          tensor(b.slice(part(outerB, i, j) * depth * cols).subarray(0, depth * cols), [depth, cols]),
        );
        const at = (i * 2 + j) * rows * cols;
        expectSameBits(result.data.slice(at, at + rows * cols), one.data, `${i}, ${j}`);
      }
    });
  });

  test("views with gaps, in arrays and in the subject's memory, and outputs with gaps", async () => {
    const [batch, rows, cols, depth] = [2, 5, 13, 21];
    const x = numbers("normal", batch * rows * depth, 1);
    const w = numbers("normal", cols * depth, 2);
    const bias = numbers("normal", 2 * cols, 3);
    const expected = (await subject.linear(tensor(x, [batch, rows, depth]), tensor(w, [cols, depth]), { bias: bias.filter((_, i) => i % 2 === 0) })).data;
    // x as [rows, batch, depth] with gaps, w transposed with gaps.
    const xStore = new Float32Array(rows * batch * (depth + 3)).fill(NaN);
    const wStore = new Float32Array(depth * (cols + 2)).fill(NaN);
    for (let i = 0; i < x.length; i++) {
      const [b, m, k] = [Math.floor(i / (rows * depth)), Math.floor(i / depth) % rows, i % depth];
      xStore[(m * batch + b) * (depth + 3) + k] = x[i] ?? NaN;
    }
    for (let i = 0; i < w.length; i++) wStore[(i % depth) * (cols + 2) + Math.floor(i / depth)] = w[i] ?? NaN;
    const outStrides = [rows * (cols * 2 + 1), cols * 2 + 1, 2];
    const strides = { x: [depth + 3, batch * (depth + 3), 1], w: [1, cols + 2] };
    const biasView = tensor(bias, [cols], { strides: [2] });
    const gather = (data: Float32Array): Float32Array =>
      Float32Array.from(
        { length: batch * rows * cols },
        (_, i) => data[Math.floor(i / (rows * cols)) * (outStrides[0] ?? 0) + (Math.floor(i / cols) % rows) * (outStrides[1] ?? 0) + (i % cols) * 2] ?? NaN,
      );
    const out = new Float32Array(batch * rows * (cols * 2 + 1)).fill(-9);
    const result = await subject.linear(tensor(xStore, [batch, rows, depth], { strides: strides.x }), tensor(wStore, [cols, depth], { strides: strides.w }), {
      bias: biasView,
      out: tensor(out, [batch, rows, cols], { strides: outStrides }),
    });
    expect(result.data).toBe(out);
    expectSameBits(gather(out), expected, "arrays");
    expect(out.filter((v) => v === -9).length).toBe(out.length - expected.length);
    const kept = await Promise.all([subject.keep(x), subject.keep(w), subject.keep(xStore), subject.keep(wStore)]);
    const [xs, ws, xGaps, wGaps] = kept;
    const views = [[xs.view(0, [batch, rows, depth]), ws.view(0, [cols, depth])]];
    // Tensors in GPU buffers have no gaps.
    if (subject.kind === "wasm") views.push([xGaps.view(0, [batch, rows, depth], strides.x), wGaps.view(0, [cols, depth], strides.w)]);
    for (const [left = x, right = w] of views)
      expectSameBits((await subject.linear(left, right, { bias: biasView })).data, expected, "in the subject's memory");
    for (const store of kept) store.dispose();
  });
});
