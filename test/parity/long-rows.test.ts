import { describe, expect, test } from "vitest";
import { numbers } from "../support/numbers.ts";
import { expected } from "../support/operands.ts";
import { expectClose, toleranceOf } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";
import { describeVariants } from "../support/variants.ts";

const COUNT = 4_000_000;

interface LongRow {
  readonly x: Float32Array;
  readonly softmax: ArrayLike<number>;
  readonly logSumExp: number;
}

/** A row of `low` with `high` in one place. Every block then has the same sum, so its rounding errors add up instead of averaging out. */
function nearlyEqual(low: number, high: number, at: number): LongRow {
  const x = new Float32Array(COUNT).fill(low);
  x[at] = high;
  const gap = Math.exp(Math.fround(low) - Math.fround(high));
  const sum = 1 + (COUNT - 1) * gap;
  const softmax = new Float64Array(COUNT).fill(gap / sum);
  softmax[at] = 1 / sum;
  return { x, softmax, logSumExp: Math.fround(high) + Math.log(sum) };
}

function random(): LongRow {
  const x = numbers("normal", COUNT);
  return { x, softmax: expected("softmax", x, [COUNT], { axis: 0 }), logSumExp: expected("logSumExp", x, [COUNT], { axis: 0 })[0] ?? NaN };
}

// A sum in one f32 stops growing at 2²⁴ / 4 terms of these, and is off by percents long before.
const ROWS: readonly (readonly [string, () => LongRow])[] = [
  ["random", random],
  ["all 0.3", () => nearlyEqual(0.3, 0.3, 0)],
  ["0.3, the max first", () => nearlyEqual(0.3, 1, 0)],
  ["0.3, the max last", () => nearlyEqual(0.3, 1, COUNT - 1)],
  // The gaps, found by search, whose rounding errors add up to the most over the 64 additions that a lane makes per block.
  ["-1.4013087, max 0 first", () => nearlyEqual(-1.4013086557388306, 0, 0)],
  ["-1.5266435, max 0 first", () => nearlyEqual(-1.5266435146331787, 0, 0)],
  ["-2.1076309, max 0 first", () => nearlyEqual(-2.1076309136837663, 0, 0)],
];

describe.each(ROWS)("four million elements, %s", (_, make) => {
  let made: LongRow | undefined;
  const row = (): LongRow => (made ??= make());

  describeSubjects("within the tolerance of a short row", (subject) => {
    const tolerance = toleranceOf("softmax", "f32", subject.kind);

    test.each(["safe", "online"] as const)("softmax, %s", async (algorithm) => {
      expectClose((await subject.softmax(row().x, { algorithm })).data, row().softmax, tolerance);
    });

    test("logSumExp", async () => {
      expectClose((await subject.logSumExp(row().x)).data, [row().logSumExp], toleranceOf("logSumExp", "f32", subject.kind));
    });
  });

  describeVariants("within the tolerance of a short row", (instance) => {
    test("OnlineSoftmax, pushed in blocks of 10007", () => {
      const { x, logSumExp, softmax } = row();
      const state = instance.onlineSoftmax();
      for (let at = 0; at < COUNT; at += 10007) state.push(x.subarray(at, at + 10007));
      expectClose(state.logSumExp, [logSumExp], toleranceOf("logSumExp", "f32", "wasm"));
      expectClose(state.normalize(x).data, softmax, toleranceOf("softmax", "f32", "wasm"));
    });
  });
});

describeVariants("many small pushes", (instance) => {
  test("a hundred thousand of one element", () => {
    const state = instance.onlineSoftmax();
    const one = new Float32Array([0.3]);
    state.push(new Float32Array([1]));
    for (let i = 1; i < 100_000; i++) state.push(one);
    expect(state.sum[0]).toBeCloseTo(1 + 99_999 * Math.exp(Math.fround(0.3) - 1), 1);
    expectClose(state.logSumExp, [1 + Math.log(1 + 99_999 * Math.exp(Math.fround(0.3) - 1))], toleranceOf("logSumExp", "f32", "wasm"));
  });
});
