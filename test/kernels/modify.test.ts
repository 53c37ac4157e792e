import { describe, test } from "vitest";
import { maskBytes, numbersOf } from "../support/numbers.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

const COLS = [1, 2, 3, 4, 5, 6, 7, 8, 11, 15, 16, 17, 31, 32, 33, 64, 65, 100];
const ROWS = 4;
/** Elements between rows of input and output. */
const GAP = 3;
const SCALE = 0.7;

/** How many rows of an operand there are: none, one for all, one each. */
const OPERANDS = ["absent", "one row", "all rows"] as const;

describeVariants("modify", ({ kernels, memory }) => {
  describe.each(["f32", "f64"] as const)("%s", (dtype) => {
    const size = dtype === "f32" ? 4 : 8;
    const heap = (): Float32Array | Float64Array => (dtype === "f32" ? memory.f32 : memory.f64);
    const kernel = dtype === "f32" ? kernels.modify_f32 : kernels.modify_f64;
    /** Arithmetic rounds after every step, as the kernel's does; it is the same in both variants. */
    const round = dtype === "f32" ? Math.fround : (v: number): number => v;
    const [xAt, yAt, biasAt, maskAt] = [1, 2, 3, 4].map(() => memory.allocate(1 << 13)) as [number, number, number, number];

    describe.each(OPERANDS)("bias: %s", (biasRows) => {
      test.each(OPERANDS)("mask: %s", (maskRows) => {
        for (const cols of COLS) {
          for (const inPlace of [false, true]) {
            const stride = cols + GAP;
            const x = numbersOf(dtype, "normal", ROWS * stride);
            const bias = numbersOf(dtype, "normal", ROWS * cols, 2);
            const mask = maskBytes(ROWS * cols);
            // Whatever the mask removes must not be seen.
            x.forEach((_, i) => {
              const [r, c] = [Math.floor(i / stride), i % stride];
              if (c < cols && maskRows === "all rows" && mask[r * cols + c] === 0) x[i] = NaN;
            });
            const result = inPlace ? xAt : yAt;
            heap().set(x, xAt / size);
            if (!inPlace) heap().fill(-77, yAt / size, yAt / size + x.length);
            heap().set(bias, biasAt / size);
            memory.u8.set(mask, maskAt);
            kernel(
              xAt,
              result,
              ROWS,
              cols,
              stride * size,
              stride * size,
              SCALE,
              biasRows === "absent" ? 0 : biasAt,
              biasRows === "all rows" ? cols * size : 0,
              maskRows === "absent" ? 0 : maskAt,
              maskRows === "all rows" ? cols : 0,
            );
            const expected = inPlace ? x.slice() : x.slice().fill(-77);
            for (let r = 0; r < ROWS; r++) {
              for (let c = 0; c < cols; c++) {
                let score = round((x[r * stride + c] ?? NaN) * round(SCALE));
                if (biasRows !== "absent") score = round(score + (bias[(biasRows === "one row" ? 0 : r * cols) + c] ?? NaN));
                if (maskRows !== "absent" && mask[(maskRows === "one row" ? 0 : r * cols) + c] === 0) score = -Infinity;
                expected[r * stride + c] = score;
              }
            }
            expectSameBits(heap().slice(result / size, result / size + x.length), expected, `${cols} columns${inPlace ? " in place" : ""}`);
          }
        }
      });
    });
  });
});
