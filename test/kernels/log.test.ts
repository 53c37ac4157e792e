import { expect, test } from "vitest";
import { logErrorInUlp } from "../reference/double-double.ts";
import { random } from "../support/numbers.ts";
import { describeVariants } from "../support/variants.ts";

describeVariants("log_f64", ({ kernels }) => {
  const COUNT = 1 << 16;

  // Measured in double-double: Math.log itself is off by 0.7 ULP.
  test.each([
    ["over all normal f64", (u: number) => 2 ** (-1022 + 2045 * u)],
    ["from 1 to 1000, sums of short rows", (u: number) => 1 + 999 * u],
    ["from 1 to 2^22, sums of long rows", (u: number) => 2 ** (22 * u)],
    ["from sqrt(1/2) to sqrt(2)", (u: number) => Math.SQRT1_2 + u * Math.SQRT1_2],
    ["next to 1", (u: number) => 1 + (u - 0.5) * 1e-6],
    ["closest to 1", (u: number) => 1 + (u - 0.5) * 1e-12],
  ])("at most 1 ULP %s", (_, at) => {
    const next = random(5);
    let worst = 0;
    let where = 0;
    for (let i = 0; i < COUNT; i++) {
      const x = at(next());
      if (x === 1) continue;
      const error = logErrorInUlp(kernels.log_f64(x), x);
      if (!(error <= worst)) [worst, where] = [error, x];
    }
    expect(worst, `error of log(${where}) in ULP`).toBeLessThanOrEqual(1);
    expect(worst).toBeGreaterThan(0);
  });

  test("powers of two, next to them, and both ends", () => {
    for (let e = -1022; e <= 1023; e++) {
      for (const x of [2 ** e, 2 ** e * (1 + 2 ** -52), 2 ** e * (2 - 2 ** -52)]) {
        if (x !== 1) expect(logErrorInUlp(kernels.log_f64(x), x), `error of log(${x}) in ULP`).toBeLessThanOrEqual(1);
      }
    }
  });

  test("special values", () => {
    expect([1, 0, -0, Infinity, -1, NaN, -Infinity].map((x) => kernels.log_f64(x))).toEqual([0, -Infinity, -Infinity, Infinity, NaN, NaN, NaN]);
  });
});

describeVariants("log1p_f64", ({ kernels }) => {
  // Math.log1p is off by 1 ULP, 2e-16.
  test("at most 1e-15 relative, from 1e-300 to 1e9", () => {
    const next = random(7);
    for (let i = 0; i < 1 << 16; i++) {
      const x = 10 ** (-300 * next() ** 3 + 9 * next());
      const error = Math.abs(kernels.log1p_f64(x) / Math.log1p(x) - 1);
      if (!(error <= 1e-15)) expect.fail(`log1p(${x}) is off by ${error}`);
    }
    expect([0, 1e-320, NaN].map((x) => kernels.log1p_f64(x))).toEqual([0, 1e-320, NaN]);
  });
});
