import { expect, test } from "vitest";
import { describeVariants } from "../support/variants.ts";

const SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 63, 64, 65];

describeVariants("transpose_f32", ({ kernels, memory }) => {
  const source = memory.allocate(1 << 16) / 4;
  const target = memory.allocate(1 << 16) / 4;

  test.each(SIZES)("%i rows of every number of columns, with and without gaps between rows", (rows) => {
    for (const cols of SIZES) {
      for (const [sourceGap, targetGap] of [
        [0, 0],
        [3, 0],
        [0, 5],
        [1, 2],
      ] as const) {
        const [from, to] = [cols + sourceGap, rows + targetGap];
        const { f32 } = memory;
        f32.fill(-1, source, source + rows * from);
        f32.fill(-2, target, target + cols * to + 8);
        for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) f32[source + r * from + c] = r * 1000 + c;
        kernels.transpose_f32(source * 4, target * 4, rows, cols, from * 4, to * 4);
        const expected = new Float32Array(cols * to + 8).fill(-2);
        for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) expected[c * to + r] = r * 1000 + c;
        expect(f32.subarray(target, target + expected.length), `${rows} × ${cols}, gaps ${sourceGap} and ${targetGap}`).toEqual(expected);
      }
    }
  });

  test("a column repeated by stride 0", () => {
    memory.f32.set([1, 2, 3, 4, 5], source);
    kernels.transpose_f32(source * 4, target * 4, 6, 5, 0, 6 * 4);
    expect([...memory.f32.subarray(target, target + 30)]).toEqual([1, 2, 3, 4, 5].flatMap((v) => new Array<number>(6).fill(v)));
  });
});
