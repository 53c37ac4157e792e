import { describe, expect, test } from "vitest";
import { alibiSlopes, tensor } from "../../src/index.ts";
import { describeSubjects } from "../support/subjects.ts";

// Press, Smith and Lewis, arXiv:2108.12409, section 3, and `get_slopes` of their code for head counts between powers of two.
const PUBLISHED: readonly (readonly [number, readonly number[]])[] = [
  [1, [1 / 256]],
  [2, [1 / 16, 1 / 256]],
  [4, [1 / 4, 1 / 16, 1 / 64, 1 / 256]],
  [8, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]],
  [16, Array.from({ length: 16 }, (_, i) => 2 ** (-(i + 1) / 2))],
  [12, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256, 0.7071067811865476, 0.35355339059327384, 0.17677669529663692, 0.08838834764831849]],
  [3, [1 / 16, 1 / 256, 1 / 4]],
  [6, [1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8]],
];

describe("alibiSlopes", () => {
  test.each(PUBLISHED)("%i heads", (heads, slopes) => {
    expect([...alibiSlopes(heads)]).toEqual(slopes.map(Math.fround));
  });

  test("maxBias is the exponent of the last slope of a power of two", () => {
    expect([...alibiSlopes(4, 4)]).toEqual([0.5, 0.25, 0.125, 0.0625]);
    expect([...alibiSlopes(2, 16)]).toEqual([2 ** -8, 2 ** -16]);
    expect([...alibiSlopes(3, 4)]).toEqual([0.25, 0.0625, 0.5]);
  });

  test("all counts up to 128 give as many slopes, distinct and between 0 and 1", () => {
    for (let heads = 1; heads <= 128; heads++) {
      const slopes = alibiSlopes(heads);
      expect(slopes).toHaveLength(heads);
      expect(new Set(slopes).size).toBe(heads);
      expect(slopes.every((s) => s > 0 && s < 1)).toBe(true);
    }
  });
});

describeSubjects("alibiSlopes as an option", (subject) => {
  test("adds -slope · |position - key|, per query head", async () => {
    const [q, k] = [tensor(new Float32Array(3 * 3), [3, 3, 1]), tensor(new Float32Array(5), [1, 5, 1])];
    const scores = (await subject.attentionScores(q, k, { alibiSlopes: [1, 0.5, 0], stage: "masked" })).data;
    const rows = Array.from({ length: 9 }, (_, row) => [...scores.slice(row * 5, row * 5 + 5)].map((s) => s + 0));
    expect(rows).toEqual([
      [-2, -1, 0, -1, -2],
      [-3, -2, -1, 0, -1],
      [-4, -3, -2, -1, 0],
      [-1, -0.5, 0, -0.5, -1],
      [-1.5, -1, -0.5, 0, -0.5],
      [-2, -1.5, -1, -0.5, 0],
      [0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0],
    ]);
  });
});
