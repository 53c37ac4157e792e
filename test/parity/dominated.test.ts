import { describe, expect, test } from "vitest";
import { mergeStates, tensor } from "../../src/index.ts";
import { describeVariants } from "../support/variants.ts";

// One element has nearly all of a row's sum: its logarithm is that of the others beside a 1.

/** Distances of the others from the largest, up to where their sum is the smallest normal f32. */
const DISTANCES = [2.5, 5, 10, 15, 20, 25, 30, 40, 60, 80];
/** Rows of a few vectors, of a block and of several, and how many of them are not the largest. */
const LENGTHS = [2, 7, 64, 1000, 1024, 1025, 3000];

const relative = (actual: number | undefined, expected: number): number => Math.abs((actual ?? NaN) / expected - 1);

describeVariants("a row that one element dominates, relative error at most 1e-6", (instance) => {
  describe.each(LENGTHS)("of %s", (length) => {
    test.each(["f32", "f64"] as const)("%s", (dtype) => {
      const Row = dtype === "f32" ? Float32Array : Float64Array;
      for (const distance of DISTANCES) {
        const others = (length - 1) * Math.exp(-distance);
        if (others > 0.5) continue;
        for (const at of [0, length >> 1, length - 1]) {
          const label = `${distance} at ${at}`;
          const row = new Row(length).fill(-distance);
          row[at] = 0;
          const expected = Math.log1p(others);
          expect(relative(instance.logSumExp(row).data[0], expected), label).toBeLessThan(1e-6);
          // Far from 0 in log-softmax, which has differences only.
          const shifted = row.map((x) => x + 64);
          expect(relative(instance.logSoftmax(shifted).data[at], -expected), label).toBeLessThan(1e-6);
          if (dtype === "f64") continue;
          const whole = instance.onlineSoftmax().push(row);
          const parts = instance.onlineSoftmax().push((row as Float32Array).subarray(0, 1));
          parts.merge(instance.onlineSoftmax().push((row as Float32Array).subarray(1)));
          expect(relative(whole.logSumExp[0], expected), label).toBeLessThan(1e-6);
          expect(relative(parts.logSumExp[0], expected), label).toBeLessThan(1e-6);
        }
      }
    });
  });

  test("other rows of the same call are as they were alone", () => {
    const rows = Float32Array.of(0, -30, -31, 1, 2, 3, Infinity, 0, 0, -Infinity, -Infinity, -Infinity, 5, NaN, 0, -30, 0, -31);
    for (const op of ["logSumExp", "logSoftmax"] as const) {
      const all = instance[op](tensor(rows, [6, 3])).data;
      const width = all.length / 6;
      for (let r = 0; r < 6; r++) expect([...all.subarray(r * width, (r + 1) * width)]).toEqual([...instance[op](rows.subarray(r * 3, r * 3 + 3)).data]);
    }
  });
});

test("merged states, relative error at most 1e-6", () => {
  for (const distance of DISTANCES) {
    const states = [0, -distance].map((lse) => ({ out: tensor(Float32Array.of(lse), [1, 1]), lse: Float32Array.of(lse) }));
    expect(relative(mergeStates(states).lse.data[0], Math.log1p(Math.exp(-distance))), `${distance}`).toBeLessThan(1e-6);
    expect(mergeStates(states.reverse()).lse.data).toEqual(mergeStates(states.reverse()).lse.data);
  }
});
