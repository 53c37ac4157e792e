import { expect, test } from "vitest";
import { countOf } from "../reference/indices.ts";
import { numbers } from "../support/numbers.ts";
import { OPS, expected } from "../support/operands.ts";
import { expectClose, gpuTolerance } from "../support/tolerances.ts";
import { unavailable } from "../support/variants.ts";
import { PARSERS, type RowDevice, requestRowDevice } from "./rows-device.ts";

const device = await requestRowDevice(false);

if (typeof device === "string") test("large inputs on a GPU", ({ skip }) => unavailable(skip, device));
else suite(device);

function suite(gpu: RowDevice): void {
  // Shapes of real models, and the longest row.
  test.each([
    [[100_000, 10], 1],
    [[4096, 64], 1],
    [[12, 197, 197], 2],
    [[3, 128_256], 1],
    [[1, 4_194_304], 1],
    [[1, 19, 512, 100], 1],
    [[50_257, 3], 0],
  ] as const)("%j over axis %d", { timeout: 300_000 }, async (shape, axis) => {
    const x = numbers("normal", countOf(shape));
    for (const op of OPS) expectClose(await gpu.run(PARSERS[op]({ data: x, shape }, { axis })), expected(op, x, shape, { axis }), gpuTolerance(op), op);
  });

  // Every lane adds the same numbers, so that rounding errors add up instead of averaging out.
  test.each([
    ["0.3", 0.3, 0.3],
    ["0.3, the max last", 0.3, 1],
    ["-1.4013087, max 0", -1.4013086557388306, 0],
    ["-2.1076309, max 0", -2.1076309136837663, 0],
  ])("four million times %s", { timeout: 300_000 }, async (_, low, high) => {
    for (const count of [4_000_000, 32_768, 4_000_001]) {
      const x = new Float32Array(count).fill(low);
      x[count - 1] = high;
      const gap = Math.exp(Math.fround(low) - Math.fround(high));
      const sum = 1 + (count - 1) * gap;
      const wanted = new Float64Array(count).fill(gap / sum);
      wanted[count - 1] = 1 / sum;
      expectClose(await gpu.run(PARSERS.softmax(x)), wanted, gpuTolerance("softmax"), `${count}`);
      expectClose(await gpu.run(PARSERS.logSumExp(x)), [Math.fround(high) + Math.log(sum)], gpuTolerance("logSumExp"), `${count}`);
    }
  });

  test("sums to one", async () => {
    const y = await gpu.run(PARSERS.softmax(numbers("normal", 1_000_000)));
    expect(y.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 6);
  });
}
