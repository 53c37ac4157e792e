import { describe, expect, test } from "vitest";
import { type OnlineSoftmax, tensor } from "../../src/index.ts";
import { place } from "../support/layouts.ts";
import { ALL_KINDS, numbers } from "../support/numbers.ts";
import { expected } from "../support/operands.ts";
import { cuts, fc, made, row, shuffled } from "../support/property.ts";
import { subjectOf } from "../support/subjects.ts";
import { expectClose, expectSameBits, toleranceOf } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

const points = fc.array(fc.nat(10_000), { maxLength: 12 });

describeVariants("OnlineSoftmax", (instance) => {
  const subject = subjectOf(instance);
  const softmaxTolerance = toleranceOf("softmax", "f32", "wasm");
  const lseTolerance = toleranceOf("logSumExp", "f32", "wasm");

  /** The states of the parts that the cuts make. */
  function states(x: Float32Array, bounds: readonly number[]): OnlineSoftmax[] {
    return bounds.slice(1).map((to, i) => instance.onlineSoftmax().push(x.subarray(bounds[i], to)));
  }

  function expectState(state: OnlineSoftmax, x: Float32Array): void {
    expectClose(state.logSumExp, expected("logSumExp", x, [x.length], { axis: 0 }), lseTolerance, "logSumExp");
    expectClose(state.normalize(x).data, expected("softmax", x, [x.length], { axis: 0 }), softmaxTolerance, "softmax");
    expectClose(state.normalize(x, { safe: true }).data, expected("softmax", x, [x.length], { axis: 0, safe: true }), softmaxTolerance, "softmax, safe");
    const max = x.reduce((most, v) => Math.max(most, v), -Infinity);
    // Adding 0 turns −0 into 0: which zero is the larger one is nobody's promise.
    expect((state.max[0] ?? 0) + 0).toBe(x.some(Number.isNaN) ? NaN : max + 0);
  }

  function bitsOf(state: OnlineSoftmax): unknown {
    return [state.max, state.sum, state.logSumExp];
  }

  test("pushed in blocks of any sizes it is the one-shot result", () => {
    fc.assert(
      fc.property(row(), points, (r, at) => {
        const x = made(r);
        const state = instance.onlineSoftmax();
        const bounds = cuts(x.length, at);
        for (let i = 1; i < bounds.length; i++) state.push(x.subarray(bounds[i - 1], bounds[i]));
        expectState(state, x);
        // Normalizing block by block gives what normalizing at once gives.
        const whole = state.normalize(x).data;
        for (let i = 1; i < bounds.length; i++) {
          expectSameBits(state.normalize(x.subarray(bounds[i - 1], bounds[i])).data, whole.slice(bounds[i - 1], bounds[i]));
        }
      }),
    );
  });

  test("pushed out of order it is the one-shot result", () => {
    fc.assert(
      fc.property(row(), points, fc.nat(1000), (r, at, seed) => {
        const x = made(r);
        const bounds = cuts(x.length, at);
        const parts = bounds.slice(1).map((to, i) => x.subarray(bounds[i], to));
        const state = instance.onlineSoftmax();
        for (const i of shuffled(parts.length, seed)) state.push(parts[i] ?? x);
        expectState(state, x);
      }),
    );
  });

  test("parts merge to the one-shot result, in any order and any tree", () => {
    fc.assert(
      fc.property(row(), points, fc.infiniteStream(fc.nat(1000)), (r, at, choices) => {
        const x = made(r);
        const left = states(x, cuts(x.length, at));
        const choose = (): number => (choices.next().value as number) % left.length;
        while (left.length > 1) {
          const [b] = left.splice(choose(), 1);
          const a = left[choose()];
          if (a !== undefined && b !== undefined) a.merge(b);
        }
        const [only] = left;
        if (only !== undefined) expectState(only, x);
      }),
    );
  });

  test("merging two states gives the same bits in either order, and leaves the other unchanged", () => {
    fc.assert(
      fc.property(row(), row(), (r, s) => {
        const state = (): [OnlineSoftmax, OnlineSoftmax] => [instance.onlineSoftmax().push(made(r)), instance.onlineSoftmax().push(made(s))];
        const [a, b] = state();
        const [c, d] = state();
        const before = bitsOf(b);
        expect(bitsOf(a.merge(b))).toEqual(bitsOf(d.merge(c)));
        expect(bitsOf(b)).toEqual(before);
      }),
    );
  });

  test("merging is associative", () => {
    fc.assert(
      fc.property(row(), row(), row(), (r, s, t) => {
        const state = (): [OnlineSoftmax, OnlineSoftmax, OnlineSoftmax] => [
          instance.onlineSoftmax().push(made(r)),
          instance.onlineSoftmax().push(made(s)),
          instance.onlineSoftmax().push(made(t)),
        ];
        const [a, b, c] = state();
        const [d, e, f] = state();
        const left = a.merge(b).merge(c);
        const right = d.merge(e.merge(f));
        expect(left.max).toEqual(right.max);
        // Two roundings and two exponentials on the way, in f64.
        expectClose(left.sum, right.sum, { relative: 1e-15 * 4, absolute: 0 });
      }),
    );
  });

  test("a state that has seen nothing, or only -inf, changes no bit", () => {
    fc.assert(
      fc.property(row(), (r) => {
        const state = instance.onlineSoftmax().push(made(r));
        const before = bitsOf(state);
        expect(bitsOf(state.merge(instance.onlineSoftmax()))).toEqual(before);
        expect(bitsOf(state.merge(instance.onlineSoftmax().push(new Float32Array(5).fill(-Infinity))))).toEqual(before);
        expect(bitsOf(instance.onlineSoftmax().merge(state))).toEqual(before);
        expect(bitsOf(state.push(new Float32Array(0)))).toEqual(before);
      }),
    );
  });

  describe("special values", () => {
    const SPECIAL = [NaN, Infinity, -Infinity, -0, 0, 3.4028234663852886e38, -3.4028234663852886e38, 1];
    const anyRow = fc.array(fc.constantFrom(...SPECIAL), { minLength: 1, maxLength: 20 }).map((values) => Float32Array.from(values));

    test("in one push, in several, merged", () => {
      fc.assert(
        fc.property(anyRow, points, (x, at) => {
          const bounds = cuts(x.length, at);
          const pushed = instance.onlineSoftmax();
          for (let i = 1; i < bounds.length; i++) pushed.push(x.subarray(bounds[i - 1], bounds[i]));
          expectState(instance.onlineSoftmax().push(x), x);
          expectState(pushed, x);
          const [first, ...others] = states(x, bounds);
          if (first === undefined) return;
          for (const other of others) first.merge(other);
          expectState(first, x);
        }),
        { numRuns: 500 },
      );
    });

    test("before the first element", () => {
      const state = instance.onlineSoftmax(2);
      expect([state.rows, [...state.max], [...state.sum], [...state.logSumExp]]).toEqual([2, [-Infinity, -Infinity], [0, 0], [-Infinity, -Infinity]]);
    });

    test("what it hands out are copies", () => {
      const state = instance.onlineSoftmax().push(new Float32Array([1, 2]));
      const before = bitsOf(state);
      state.max.fill(9);
      state.sum.fill(9);
      state.logSumExp.fill(9);
      expect(bitsOf(state)).toEqual(before);
    });
  });

  describe("rows × blocks", () => {
    test.each([
      [1, 5000],
      [3, 17],
      [64, 100],
      [65, 1030],
      [300, 700],
      [70_000, 3],
      [2, 70_000],
    ])("%i × %i, in one block, in column blocks, and with every layout", async (rows, cols) => {
      const shape = [rows, cols];
      for (const kind of rows * cols > 100_000 ? (["wide"] as const) : ALL_KINDS) {
        const x = numbers(kind, rows * cols);
        const y = expected("softmax", x, shape, { axis: 1 });
        const lse = expected("logSumExp", x, shape, { axis: 1 });
        const whole = instance.onlineSoftmax(rows).push(tensor(x, shape));
        expectClose(whole.logSumExp, lse, lseTolerance, kind);
        expectClose(whole.normalize(tensor(x, shape)).data, y, softmaxTolerance, kind);

        const columns = instance.onlineSoftmax(rows);
        const bounds = cuts(cols, [1, 2, 53, 304]);
        for (const [i, from] of bounds.slice(0, -1).entries()) {
          columns.push(tensor(x.subarray(from), [rows, (bounds[i + 1] ?? cols) - from], { strides: [cols, 1] }));
        }
        expectClose(columns.logSumExp, lse, lseTolerance, `${kind}, column by column`);

        for (const home of ["array", "module"] as const) {
          for (const layout of ["reversed", "row gaps", "element gaps"] as const) {
            const label = `${kind}, ${home} ${layout}`;
            const input = await place(subject, "f32", shape, { home, layout, values: x });
            const state = instance.onlineSoftmax(rows).push(input.tensor);
            expectSameBits(state.max, whole.max, label);
            expectSameBits(state.sum, whole.sum, label);
            expectSameBits(state.logSumExp, whole.logSumExp, label);
            const output = await place(subject, "f32", shape, { home, layout });
            state.normalize(input.tensor, { out: output.tensor });
            expectClose(await output.values(), y, softmaxTolerance, label);
            await output.expectSentinels(label);
            await input.expectSentinels(label);
            state.normalize(input.tensor, { out: input.tensor });
            expectSameBits(await input.values(), await output.values(), `${label}, in place`);
            input.dispose();
            output.dispose();
          }
        }
      }
    });
  });
});
