import { expect, test } from "vitest";
import { createInstance } from "../../src/testing/testing.ts";
import { STATE_BYTES } from "../../src/backend/wasm/module/kernels.ts";
import { words } from "../support/layouts.ts";
import { numbers } from "../support/numbers.ts";
import { describeVariants } from "../support/variants.ts";

// Rows that end where memory ends: a kernel that reads or writes one byte too many traps. In front of an output and between
// its rows lie sentinels.

const SENTINEL = 0x7ffda5a5;
const LENGTHS = [...Array.from({ length: 40 }, (_, i) => i + 1), 63, 64, 65, 1023, 1024, 1025, 1027, 2047, 2048, 2049];
const ROWS = 3;
/** Elements between rows; odd, so that rows start at any address that f32 may have. */
const GAP = 5;
/** More than all rows take. */
const REGION = 1 << 17;

describeVariants("nothing outside the rows is read or written by", (_, variant) => {
  const { kernels, memory } = createInstance(variant);
  const scratch = memory.take(4096);
  /** Where the operand lies that is not at the end. */
  const elsewhere = memory.take(REGION);
  const end = memory.byteLength;

  /** Runs a kernel on rows of `cols` numbers, first with the input at the end of memory, then with the output, which has `outputCols`. */
  function check(cols: number, size: 4 | 8, outputCols: number, run: (x: number, y: number, stride: number) => void): void {
    const stride = (cols + GAP) * size;
    const atEnd = (count: number): number => end - (ROWS - 1) * stride - count * size;
    const inside = elsewhere + 64 + size;
    for (const [x, y] of [
      [atEnd(cols), inside],
      [inside, atEnd(outputCols)],
    ] as const) {
      words(memory.u8.subarray(elsewhere, elsewhere + REGION)).fill(SENTINEL);
      words(memory.u8.subarray(end - REGION)).fill(SENTINEL);
      for (let r = 0; r < ROWS; r++) (size === 4 ? memory.f32 : memory.f64).set(numbers("normal", cols, 3), (x + r * stride) / size);
      run(x, y, stride);
      const bits = words(memory.u8);
      for (let at = y - 64; at < Math.min(end, y + ROWS * stride); at += 4) {
        const inRow = at >= y && (at - y) % stride < outputCols * size;
        const isSentinel = bits[at / 4] === SENTINEL;
        if (isSentinel === inRow) expect.fail(`${cols} columns: the word at ${at - y} of the output was ${isSentinel ? "not " : ""}written`);
      }
    }
  }

  test.each(["softmax_standard_f32", "softmax_safe_f32", "softmax_online_f32", "log_softmax_f32"] as const)("%s", (name) => {
    for (const cols of LENGTHS) check(cols, 4, cols, (x, y, stride) => kernels[name](x, y, ROWS, cols, stride, stride, scratch, 0));
  });

  test("log_sum_exp_f32", () => {
    for (const cols of LENGTHS) check(cols, 4, 1, (x, y, stride) => kernels.log_sum_exp_f32(x, y, ROWS, cols, stride, stride, scratch, 0));
  });

  test.each(["softmax_f64", "log_softmax_f64", "log_sum_exp_f64"] as const)("%s", (name) => {
    const outputCols = (cols: number): number => (name === "log_sum_exp_f64" ? 1 : cols);
    for (const cols of LENGTHS) check(cols, 8, outputCols(cols), (x, y, stride) => kernels[name](x, y, ROWS, cols, stride, stride, scratch, 0));
  });

  test.each(["modify_f32", "modify_f64"] as const)("%s", (name) => {
    const size = name === "modify_f32" ? 4 : 8;
    for (const cols of LENGTHS) check(cols, size, cols, (x, y, stride) => kernels[name](x, y, ROWS, cols, stride, stride, 0.5, 0, 0, 0, 0));
    // Bias and mask at the end, one row for all; a trap is the failure.
    const values = size === 4 ? memory.f32 : memory.f64;
    for (const cols of LENGTHS) {
      memory.u8.fill(1, end - cols);
      kernels[name](elsewhere, elsewhere, 2, cols, cols * size, cols * size, 1, 0, 0, end - cols, 0);
      values.fill(0.25, (end - cols * size) / size);
      values.fill(1, elsewhere / size, elsewhere / size + 2 * cols);
      kernels[name](elsewhere, elsewhere, 2, cols, cols * size, cols * size, 1, end - cols * size, 0, 0, 0);
      expect(values.subarray(elsewhere / size, elsewhere / size + 2 * cols).every((v) => v === 1.25)).toBe(true);
    }
  });

  test("online_absorb_f32 and online_normalize_f32", () => {
    for (const cols of LENGTHS) {
      check(cols, 4, cols, (x, y, stride) => {
        for (let r = 0; r < ROWS; r++) {
          memory.f32[(scratch + r * STATE_BYTES) / 4] = -3.4028234663852886e38;
          memory.f64[(scratch + r * STATE_BYTES + 8) / 8] = 0;
        }
        kernels.online_absorb_f32(x, ROWS, cols, stride, scratch);
        kernels.online_normalize_f32(x, y, ROWS, cols, stride, stride, scratch, 0);
      });
    }
  });

  test("transpose_f32", () => {
    for (const cols of LENGTHS.filter((n) => n <= 65)) {
      // cols rows of ROWS columns come out as ROWS rows of cols columns, and the other way round.
      check(cols, 4, cols, (x, y, stride) => {
        const columns = scratch + 256;
        kernels.transpose_f32(x, columns, ROWS, cols, stride, ROWS * 4);
        kernels.transpose_f32(columns, y, cols, ROWS, ROWS * 4, stride);
      });
    }
  });

  test("linear_f32", () => {
    for (const depth of [1, 2, 3, 4, 5, 6, 7, 8, 511, 513]) {
      for (const rows of [1, 2, 3]) {
        for (const cols of [1, 4, 5, 6, 16]) {
          const [xBytes, wBytes, yBytes] = [rows * depth * 4, cols * depth * 4, rows * cols * 4];
          const [x, w, y] = [elsewhere + 64, elsewhere + 64 + xBytes + 64, elsewhere + REGION / 2];
          // Each operand in turn ends where memory ends: x, w, the bias, y.
          for (const [x1, w1, bias, y1] of [
            [end - xBytes, w, w, y],
            [x, end - wBytes, w, y],
            [x, w, end - cols * 4, y],
            [x, w, w, end - yBytes],
          ] as const) {
            words(memory.u8.subarray(elsewhere, elsewhere + REGION)).fill(SENTINEL);
            words(memory.u8.subarray(end - REGION)).fill(SENTINEL);
            for (const [at, count] of [
              [x1, rows * depth],
              [w1, cols * depth],
              [bias, cols],
            ] as const)
              memory.f32.set(numbers("normal", count, 3), at / 4);
            kernels.linear_f32(x1, depth * 4, w1, depth * 4, y1, cols * 4, rows, cols, depth, bias, 1);
            const bits = words(memory.u8);
            expect(bits[y1 / 4 - 1], "the word before the result").toBe(SENTINEL);
            if (y1 === y) expect(bits[(y1 + yBytes) / 4], "the word behind the result").toBe(SENTINEL);
            for (let i = 0; i < rows * cols; i++) expect(bits[y1 / 4 + i], "a result").not.toBe(SENTINEL);
          }
        }
      }
    }
  });
});
