import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { SIZES } from "../cases/rows.ts";
import { byName } from "../support/by-name.ts";
import { ALGORITHMS, OPS, call, expected } from "../support/operands.ts";
import { words } from "../support/layouts.ts";
import { numbers } from "../support/numbers.ts";
import { type FloatType, expectClose, toleranceOf } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

// Every sentence of SEMANTICS, "Row operations", about special values.

const INF = Infinity;

interface EdgeCase {
  readonly name: string;
  readonly row: readonly number[];
  readonly softmax: readonly number[];
  readonly logSoftmax: readonly number[];
  readonly logSumExp: number;
  /** What overflows in f32 does not in f64. */
  readonly only?: FloatType;
  /** With `safe: true`, where that differs. */
  readonly safe?: { readonly softmax: readonly number[]; readonly logSoftmax: readonly number[] };
}

const half = Math.log(2);

const EDGES: readonly EdgeCase[] = [
  { name: "scalar-like row of 1", row: [-7], softmax: [1], logSoftmax: [0], logSumExp: -7 },
  { name: "row of 1 at 0", row: [0], softmax: [1], logSoftmax: [0], logSumExp: 0 },
  { name: "row of 1, f32 max", row: [3.4028234663852886e38], softmax: [1], logSoftmax: [0], logSumExp: 3.4028234663852886e38 },
  { name: "row of 1, f32 min", row: [-3.4028234663852886e38], softmax: [1], logSoftmax: [0], logSumExp: -3.4028234663852886e38 },
  {
    name: "two of f32 min",
    row: [-3.4028234663852886e38, -3.4028234663852886e38],
    softmax: [0.5, 0.5],
    logSoftmax: [-half, -half],
    logSumExp: -3.4028234663852886e38,
  },
  { name: "f32 min beside -inf", row: [-INF, -3.4028234663852886e38], softmax: [0, 1], logSoftmax: [-INF, 0], logSumExp: -3.4028234663852886e38 },
  { name: "a range that overflows when subtracted", only: "f32", row: [3e38, -3e38], softmax: [1, 0], logSoftmax: [0, -INF], logSumExp: 3e38 },
  { name: "-0 and 0", row: [-0, 0], softmax: [0.5, 0.5], logSoftmax: [-half, -half], logSumExp: half },
  {
    name: "denormals",
    row: [1e-45, -1e-45, 1e-40],
    softmax: [1 / 3, 1 / 3, 1 / 3],
    logSoftmax: [-Math.log(3), -Math.log(3), -Math.log(3)],
    logSumExp: Math.log(3),
  },
  { name: "some -inf", row: [-INF, 1, -INF, 1], softmax: [0, 0.5, 0, 0.5], logSoftmax: [-INF, -half, -INF, -half], logSumExp: 1 + half },
  {
    name: "all -inf",
    row: [-INF, -INF, -INF],
    softmax: [NaN, NaN, NaN],
    logSoftmax: [NaN, NaN, NaN],
    logSumExp: -INF,
    safe: { softmax: [0, 0, 0], logSoftmax: [-INF, -INF, -INF] },
  },
  { name: "a single -inf", row: [-INF], softmax: [NaN], logSoftmax: [NaN], logSumExp: -INF, safe: { softmax: [0], logSoftmax: [-INF] } },
  { name: "+inf", row: [1, INF, 2], softmax: [NaN, NaN, NaN], logSoftmax: [NaN, NaN, NaN], logSumExp: INF },
  { name: "a single +inf", row: [INF], softmax: [NaN], logSoftmax: [NaN], logSumExp: INF },
  { name: "both infinities", row: [-INF, INF], softmax: [NaN, NaN], logSoftmax: [NaN, NaN], logSumExp: INF },
  { name: "two +inf", row: [INF, INF], softmax: [NaN, NaN], logSoftmax: [NaN, NaN], logSumExp: INF },
  { name: "NaN", row: [1, NaN, 2], softmax: [NaN, NaN, NaN], logSoftmax: [NaN, NaN, NaN], logSumExp: NaN },
  { name: "a single NaN", row: [NaN], softmax: [NaN], logSoftmax: [NaN], logSumExp: NaN },
  { name: "NaN before +inf", row: [NaN, 1, INF], softmax: [NaN, NaN, NaN], logSoftmax: [NaN, NaN, NaN], logSumExp: NaN },
  { name: "NaN after +inf", row: [INF, 1, NaN], softmax: [NaN, NaN, NaN], logSoftmax: [NaN, NaN, NaN], logSumExp: NaN },
  { name: "NaN among -inf", row: [-INF, NaN, -INF], softmax: [NaN, NaN, NaN], logSoftmax: [NaN, NaN, NaN], logSumExp: NaN },
];

describeVariants("special values", (instance) => {
  describe.each(["f32", "f64"] as const)("%s", (dtype) => {
    const make = (values: readonly number[]): Float32Array | Float64Array => (dtype === "f32" ? Float32Array.from(values) : Float64Array.from(values));

    describe.each(byName(EDGES.filter(({ only }) => only === undefined || only === dtype)))("%s", (_, edge) => {
      const x = make(edge.row);

      // Standard softmax overflows on some of these; what it has to get right is in softmax.test.ts.
      test.each(["safe", "online", "auto"] as const)("softmax, %s", (algorithm) => {
        expectClose(instance.softmax(x, { algorithm }).data, edge.softmax, toleranceOf("softmax", dtype));
        expectClose(instance.softmax(x, { algorithm, safe: true }).data, edge.safe?.softmax ?? edge.softmax, toleranceOf("softmax", dtype), "safe: true");
      });

      test("logSoftmax", () => {
        expectClose(instance.logSoftmax(x).data, edge.logSoftmax, toleranceOf("logSoftmax", dtype));
        expectClose(instance.logSoftmax(x, { safe: true }).data, edge.safe?.logSoftmax ?? edge.logSoftmax, toleranceOf("logSoftmax", dtype), "safe: true");
      });

      test("logSumExp", () => expectClose(instance.logSumExp(x).data, [edge.logSumExp], toleranceOf("logSumExp", dtype)));

      test("the reference says the same", () => {
        expectClose(expected("softmax", x, [x.length], { axis: 0 }), edge.softmax, toleranceOf("softmax", dtype));
        expectClose(expected("logSumExp", x, [x.length], { axis: 0 }), [edge.logSumExp], toleranceOf("logSumExp", dtype));
        if (edge.safe !== undefined) expectClose(expected("softmax", x, [x.length], { axis: 0, safe: true }), edge.safe.softmax, toleranceOf("softmax", dtype));
      });
    });

    // A special value in every place that a kernel treats differently: vector, loop, tail, first and last block.
    test.each(SIZES)("one NaN, one +inf, or nothing but -inf, in a row of %i between two others", (n) => {
      for (const at of new Set([0, n >> 1, n - 1])) {
        for (const special of [NaN, INF]) {
          const x = make([...numbers("normal", 3 * n)]);
          x[n + at] = special;
          expectRows(dtype, x, n, `${special} at ${at}`);
        }
      }
      const x = make([...numbers("normal", 3 * n)]);
      x.fill(-INF, n, 2 * n);
      expectRows(dtype, x, n, "-inf");
    });

    test.each(SIZES.filter((n) => n > 1))("NaN and +inf in one row of %i, in either order", (n) => {
      for (const [nan, inf] of [
        [0, n - 1],
        [n - 1, 0],
        [n >> 1, n - 1],
        [0, n >> 1],
      ] as const) {
        if (nan === inf) continue;
        const x = make([...numbers("normal", n)]);
        x[inf] = INF;
        x[nan] = NaN;
        expect(instance.logSumExp(x).data[0], `NaN at ${nan}, +inf at ${inf}`).toBeNaN();
      }
    });
  });

  /** Three rows of n by every operation and algorithm. */
  function expectRows(dtype: FloatType, x: Float32Array | Float64Array, n: number, label: string): void {
    for (const safe of [false, true]) {
      for (const op of OPS) {
        const y = expected(op, x, [3, n], { axis: 1, safe });
        expectClose(call(instance, op, tensor(x, [3, n]), { safe }).data, y, toleranceOf(op, dtype), `${op} safe ${safe}: ${label}`);
        if (op !== "softmax") continue;
        for (const algorithm of ALGORITHMS) {
          const ofFormula = algorithm === "standard" && dtype === "f32" && x.includes(INF);
          const result = instance.softmax(tensor(x, [3, n]), { safe, algorithm });
          expectClose(result.data, ofFormula ? overflowed(y, x, n) : y, toleranceOf(op, dtype), `${algorithm}: ${label}`);
        }
      }
    }
  }

  /** What the formula makes of the middle row when it holds +inf: exp(x) / ∞ is 0, and ∞ / ∞ is NaN. */
  function overflowed(y: Float64Array, x: Float32Array | Float64Array, n: number): Float64Array {
    return y.map((v, i) => (i < n || i >= 2 * n ? v : x[i] === INF ? NaN : 0));
  }

  // What JavaScript writes, what 0/0 gives on x86, payloads as other programs write them (all ones is a common fill), a signaling one.
  test.each(["7fc00000", "ffc00000", "7fc00001", "7fffffff", "ffffffff", "7f800001"])("an f32 NaN of the bits %s makes the whole row NaN", (bits) => {
    for (const n of [1, 3, 17, 1025]) {
      const x = numbers("normal", n);
      words(x)[n >> 1] = parseInt(bits, 16);
      for (const algorithm of ALGORITHMS)
        expect(instance.softmax(x, { algorithm }).data.every(Number.isNaN), `softmax, ${algorithm}, ${n} elements`).toBe(true);
      expect(instance.logSoftmax(x).data.every(Number.isNaN), `logSoftmax, ${n} elements`).toBe(true);
      expect(instance.logSumExp(x).data[0], `logSumExp, ${n} elements`).toBeNaN();
      expect(instance.onlineSoftmax().push(x).sum[0], `OnlineSoftmax, ${n} elements`).toBeNaN();
    }
  });

  test.each(["7ff8000000000000", "fff8000000000000", "7ff8000000000001", "7fffffffffffffff", "ffffffffffffffff", "7ff0000000000001"])(
    "an f64 NaN of the bits %s makes the whole row NaN",
    (bits) => {
      for (const n of [1, 3, 17, 1025]) {
        const x = Float64Array.from(numbers("normal", n));
        new BigUint64Array(x.buffer)[n >> 1] = BigInt(`0x${bits}`);
        expect(instance.softmax(x).data.every(Number.isNaN), `softmax, ${n} elements`).toBe(true);
        expect(instance.logSoftmax(x).data.every(Number.isNaN), `logSoftmax, ${n} elements`).toBe(true);
        expect(instance.logSumExp(x).data[0], `logSumExp, ${n} elements`).toBeNaN();
      }
    },
  );

  describe("scalars and emptiness", () => {
    test.each([
      [3, 1, 0, 3],
      [-INF, NaN, NaN, -INF],
      [INF, NaN, NaN, INF],
      [NaN, NaN, NaN, NaN],
    ])("the scalar %d", (value, p, logP, lse) => {
      const x = tensor(new Float32Array([value]), []);
      expect(instance.softmax(x)).toEqual({ data: new Float32Array([p]), shape: [], dtype: "f32" });
      expect(instance.logSoftmax(x, { axis: 0 })).toEqual({ data: new Float32Array([logP]), shape: [], dtype: "f32" });
      expect(instance.logSumExp(x)).toEqual({ data: new Float32Array([lse]), shape: [], dtype: "f32" });
    });

    test("the log-sum-exp of an empty row is -inf", () => {
      expect(instance.logSumExp(new Float32Array(0))).toEqual({ data: new Float32Array([-INF]), shape: [], dtype: "f32" });
      expect(instance.logSumExp(tensor(new Float32Array(0), [2, 0])).data).toEqual(new Float32Array([-INF, -INF]));
      expect(instance.logSumExp(tensor(new Float64Array(0), [2, 0]), { keepDims: true })).toEqual({
        data: new Float64Array([-INF, -INF]),
        shape: [2, 1],
        dtype: "f64",
      });
    });

    test("an empty batch has an empty result", () => {
      expect(instance.logSumExp(tensor(new Float32Array(0), [0, 4]))).toEqual({ data: new Float32Array(0), shape: [0], dtype: "f32" });
    });
  });
});
