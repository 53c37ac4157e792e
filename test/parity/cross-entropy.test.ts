import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { LOGITS } from "../cases/logits.ts";
import { crossEntropy } from "../reference/sampling.ts";
import { byName } from "../support/by-name.ts";
import { numbers } from "../support/numbers.ts";
import { describeSubjects } from "../support/subjects.ts";
import { SAMPLING, expectClose } from "../support/tolerances.ts";

const SIZES = [1, 3, 17, 1024, 1025, 3000] as const;
const { crossEntropy: tolerance, gradient } = SAMPLING;

describeSubjects("crossEntropy", (subject) => {
  describe.each(byName(LOGITS))("%s", (_, { row }) => {
    test.each(SIZES)("%d columns", async (cols) => {
      const x = row(cols);
      // The largest, whose loss may be tiny, and others.
      const targets = [x.indexOf(Math.max(...x)), 0, cols >> 1, cols - 1];
      const logits = { data: x, shape: [targets.length, cols], strides: [0, 1] };
      for (const labelSmoothing of [0, 0.1]) {
        const expected = targets.map((target) => crossEntropy(x, target, labelSmoothing));
        const { loss, grad } = await subject.crossEntropy(logits, targets, { labelSmoothing, reduction: "none", returnGrad: true });
        const sizes = Math.max(...x.map((v) => (Math.abs(v) < 1e6 ? Math.abs(v) : 0)));
        // The mean of all logits is as precise as they are large.
        const smoothed = { relative: tolerance.relative, absolute: tolerance.absolute + labelSmoothing * 1e-6 * sizes };
        expectClose(
          loss.data,
          expected.map((e) => e.loss),
          smoothed,
          `smoothing ${labelSmoothing}`,
        );
        expectClose(
          grad.data,
          expected.flatMap((e) => e.grad),
          gradient,
          `gradient, smoothing ${labelSmoothing}`,
        );
        const alone = await subject.crossEntropy(logits, targets, { labelSmoothing, reduction: "none" });
        expectClose(
          alone.data,
          expected.map((e) => e.loss),
          smoothed,
          `without gradient, smoothing ${labelSmoothing}`,
        );
      }
    });
  });

  const [rows, cols] = [40, 700];
  const x = numbers("normal", rows * cols);
  const targets = Int32Array.from({ length: rows }, (_, r) => (r % 5 === 3 ? -100 : (r * 31) % cols));
  const losses = [...targets].map((target, r) => (target < 0 ? 0 : crossEntropy(x.subarray(r * cols, (r + 1) * cols), target).loss));
  const total = losses.reduce((a, b) => a + b, 0);

  test("reductions; ignored rows count nowhere and have no gradient", async () => {
    const counted = targets.filter((target) => target >= 0).length;
    const mean = await subject.crossEntropy(tensor(x, [rows, cols]), targets, { returnGrad: true });
    expect(mean.loss.shape).toEqual([]);
    expectClose(mean.loss.data, [total / counted], tolerance);
    expectClose((await subject.crossEntropy(tensor(x, [rows, cols]), targets, { reduction: "sum" })).data, [total], tolerance);
    const sum = await subject.crossEntropy(tensor(x, [rows, cols]), targets, { reduction: "sum", returnGrad: true });
    expectClose(
      mean.grad.data,
      sum.grad.data.map((g) => g / counted),
      gradient,
    );
    expect(sum.grad.data.subarray(3 * cols, 4 * cols).every((g) => g === 0)).toBe(true);
    const seven = await subject.crossEntropy(tensor(x.subarray(0, cols), [1, cols]), [7], { ignoreIndex: 7, returnGrad: true });
    expect([seven.loss.data[0], seven.grad.data.some((g) => g !== 0)]).toEqual([NaN, false]);
  });

  test("the gradient is that of finite differences", async () => {
    const small = numbers("normal", 12).map((v) => v / 2);
    const options = { labelSmoothing: 0.2 } as const;
    const { grad } = await subject.crossEntropy(tensor(small, [3, 4]), [1, -100, 3], { ...options, returnGrad: true });
    for (let i = 0; i < 12; i++) {
      const at = async (step: number): Promise<number> => {
        const moved = small.map((v, j) => (j === i ? v + step : v));
        return (await subject.crossEntropy(tensor(moved, [3, 4]), [1, -100, 3], options)).data[0] ?? NaN;
      };
      expect(grad.data[i]).toBeCloseTo(((await at(0.03125)) - (await at(-0.03125))) / 0.0625, 3);
    }
  });

  test("in place, in the subject's memory, and along the first axis", async () => {
    const expected = await subject.crossEntropy(tensor(x, [rows, cols]), targets, { returnGrad: true });
    const copy = tensor(x.slice(), [rows, cols]);
    const loss = new Float32Array(1);
    const placed = await subject.crossEntropy(copy, targets, { returnGrad: true, out: { grad: copy, loss } });
    expect(placed.grad).toBe(copy);
    expect([...copy.data]).toEqual([...expected.grad.data]);
    expect([...loss]).toEqual([...expected.loss.data]);
    const kept = await subject.keep(x);
    const there = await subject.crossEntropy(kept.view(0, [rows, cols]), targets, { returnGrad: true });
    expect([...there.grad.data]).toEqual([...expected.grad.data]);
    if (subject.kind === "wasm") {
      const onto = kept.view(0, [rows, cols]);
      await subject.crossEntropy(onto, targets, { returnGrad: true, out: { grad: onto } });
      expect([...(await kept.read())]).toEqual([...expected.grad.data]);
    }
    kept.dispose();
    const crossed = new Float32Array(rows * cols);
    for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) crossed[c * rows + r] = x[r * cols + c] ?? NaN;
    const along = await subject.crossEntropy(tensor(crossed, [cols, rows]), { data: targets, shape: [rows] }, { axis: 0, returnGrad: true });
    expect([...along.loss.data]).toEqual([...expected.loss.data]);
    for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c += 97) expect(along.grad.data[c * rows + r]).toBe(expected.grad.data[r * cols + c]);
  });

  test("NaN, +inf and rows of −inf give NaN", async () => {
    for (const row of [
      [1, NaN, 2],
      [1, Infinity, 2],
      [-Infinity, -Infinity, -Infinity],
    ]) {
      const { loss, grad } = await subject.crossEntropy(Float32Array.from(row), [2], { returnGrad: true });
      expect([...loss.data, ...grad.data]).toEqual([NaN, NaN, NaN, NaN]);
      expect([...(await subject.crossEntropy(Float32Array.from(row), [2])).data]).toEqual([NaN]);
    }
    expect([...(await subject.crossEntropy(Float32Array.of(0, -Infinity), [1])).data]).toEqual([Infinity]);
  });

  test("no rows have a mean of NaN and a sum of 0", async () => {
    const none = tensor(new Float32Array(0), [0, 5]);
    expect([...(await subject.crossEntropy(none, [])).data]).toEqual([NaN]);
    expect([...(await subject.crossEntropy(none, [], { reduction: "sum" })).data]).toEqual([0]);
  });
});
