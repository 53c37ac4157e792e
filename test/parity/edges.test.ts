import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { SIZES } from "../cases/rows.ts";
import { byName } from "../support/by-name.ts";
import { ALGORITHMS, OPS, call, expected } from "../support/operands.ts";
import { words } from "../support/layouts.ts";
import { numbers } from "../support/numbers.ts";
import { type FloatType, expectClose, toleranceOf } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";

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

describeSubjects("special values", (subject) => {
  describe.each(subject.dtypes)("%s", (dtype) => {
    const make = (values: readonly number[]): Float32Array | Float64Array => (dtype === "f32" ? Float32Array.from(values) : Float64Array.from(values));

    const edges = EDGES.filter(({ only, row }) => (only === undefined || only === dtype) && (subject.propagates || row.every((x) => x < INF)));
    describe.each(byName(edges))("%s", (_, edge) => {
      const x = make(edge.row);

      // Standard softmax overflows on some of these; what it has to get right is in softmax.test.ts.
      test.each(["safe", "online", "auto"] as const)("softmax, %s", async (algorithm) => {
        expectClose((await subject.softmax(x, { algorithm })).data, edge.softmax, toleranceOf("softmax", dtype, subject.kind));
        expectClose(
          (await subject.softmax(x, { algorithm, safe: true })).data,
          edge.safe?.softmax ?? edge.softmax,
          toleranceOf("softmax", dtype, subject.kind),
          "safe: true",
        );
      });

      test("logSoftmax", async () => {
        expectClose((await subject.logSoftmax(x)).data, edge.logSoftmax, toleranceOf("logSoftmax", dtype, subject.kind));
        expectClose(
          (await subject.logSoftmax(x, { safe: true })).data,
          edge.safe?.logSoftmax ?? edge.logSoftmax,
          toleranceOf("logSoftmax", dtype, subject.kind),
          "safe: true",
        );
      });

      test("logSumExp", async () => expectClose((await subject.logSumExp(x)).data, [edge.logSumExp], toleranceOf("logSumExp", dtype, subject.kind)));

      test("the reference says the same", () => {
        expectClose(expected("softmax", x, [x.length], { axis: 0 }), edge.softmax, toleranceOf("softmax", dtype, subject.kind));
        expectClose(expected("logSumExp", x, [x.length], { axis: 0 }), [edge.logSumExp], toleranceOf("logSumExp", dtype, subject.kind));
        if (edge.safe !== undefined)
          expectClose(expected("softmax", x, [x.length], { axis: 0, safe: true }), edge.safe.softmax, toleranceOf("softmax", dtype, subject.kind));
      });
    });

    // A special value in every place that a kernel treats differently: vector, loop, tail, first and last block.
    test.each(SIZES)("one NaN, one +inf, or nothing but -inf, in a row of %i between two others", async (n) => {
      for (const at of new Set([0, n >> 1, n - 1])) {
        for (const special of [NaN, INF]) {
          const x = make([...numbers("normal", 3 * n)]);
          x[n + at] = special;
          await expectRows(dtype, x, n, `${special} at ${at}`);
        }
      }
      const x = make([...numbers("normal", 3 * n)]);
      x.fill(-INF, n, 2 * n);
      await expectRows(dtype, x, n, "-inf");
    });

    if (!subject.propagates) return;
    test.each(SIZES.filter((n) => n > 1))("NaN and +inf in one row of %i, in either order", async (n) => {
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
        expect((await subject.logSumExp(x)).data[0], `NaN at ${nan}, +inf at ${inf}`).toBeNaN();
      }
    });
  });

  /** Three rows of n by every operation and algorithm; where NaN and +inf do not propagate, the row that holds one is not looked at. */
  async function expectRows(dtype: FloatType, x: Float32Array | Float64Array, n: number, label: string): Promise<void> {
    for (const safe of [false, true]) {
      for (const op of OPS) {
        const y = expected(op, x, [3, n], { axis: 1, safe });
        const seen = (all: ArrayLike<number>): ArrayLike<number> =>
          subject.propagates || x.every((v) => v < INF) ? all : Array.from(all).filter((_, i) => Math.floor((3 * i) / all.length) !== 1);
        expectClose(
          seen((await call(subject, op, tensor(x, [3, n]), { safe })).data),
          seen(y),
          toleranceOf(op, dtype, subject.kind),
          `${op} safe ${safe}: ${label}`,
        );
        if (op !== "softmax") continue;
        for (const algorithm of ALGORITHMS) {
          const ofFormula = algorithm === "standard" && dtype === "f32" && x.includes(INF);
          const result = await subject.softmax(tensor(x, [3, n]), { safe, algorithm });
          expectClose(seen(result.data), seen(ofFormula ? overflowed(y, x, n) : y), toleranceOf(op, dtype, subject.kind), `${algorithm}: ${label}`);
        }
      }
    }
  }

  /** What the formula makes of the middle row when it holds +inf: exp(x) / ∞ is 0, and ∞ / ∞ is NaN. */
  function overflowed(y: Float64Array, x: Float32Array | Float64Array, n: number): Float64Array {
    return y.map((v, i) => (i < n || i >= 2 * n ? v : x[i] === INF ? NaN : 0));
  }

  const describeNaN = subject.propagates ? describe : undefined;
  describeNaN?.("NaN of any bits", () => {
    // What JavaScript writes, what 0/0 gives on x86, payloads as other programs write them (all ones is a common fill), a signaling one.
    test.each(["7fc00000", "ffc00000", "7fc00001", "7fffffff", "ffffffff", "7f800001"])("an f32 NaN of the bits %s makes the whole row NaN", async (bits) => {
      for (const n of [1, 3, 17, 1025]) {
        const x = numbers("normal", n);
        words(x)[n >> 1] = parseInt(bits, 16);
        for (const algorithm of ALGORITHMS)
          expect((await subject.softmax(x, { algorithm })).data.every(Number.isNaN), `softmax, ${algorithm}, ${n} elements`).toBe(true);
        expect((await subject.logSoftmax(x)).data.every(Number.isNaN), `logSoftmax, ${n} elements`).toBe(true);
        expect((await subject.logSumExp(x)).data[0], `logSumExp, ${n} elements`).toBeNaN();
        if (subject.instance !== undefined) expect(subject.instance.onlineSoftmax().push(x).sum[0], `OnlineSoftmax, ${n} elements`).toBeNaN();
      }
    });

    if (!subject.dtypes.includes("f64")) return;
    test.each(["7ff8000000000000", "fff8000000000000", "7ff8000000000001", "7fffffffffffffff", "ffffffffffffffff", "7ff0000000000001"])(
      "an f64 NaN of the bits %s makes the whole row NaN",
      async (bits) => {
        for (const n of [1, 3, 17, 1025]) {
          const x = Float64Array.from(numbers("normal", n));
          new BigUint64Array(x.buffer)[n >> 1] = BigInt(`0x${bits}`);
          expect((await subject.softmax(x)).data.every(Number.isNaN), `softmax, ${n} elements`).toBe(true);
          expect((await subject.logSoftmax(x)).data.every(Number.isNaN), `logSoftmax, ${n} elements`).toBe(true);
          expect((await subject.logSumExp(x)).data[0], `logSumExp, ${n} elements`).toBeNaN();
        }
      },
    );
  });

  describe("scalars and emptiness", () => {
    const SCALARS = [
      [3, 1, 0, 3],
      [-INF, NaN, NaN, -INF],
      [INF, NaN, NaN, INF],
      [NaN, NaN, NaN, NaN],
    ] as const;

    test.each(SCALARS.filter(([value]) => subject.propagates || value < INF))("the scalar %d", async (value, p, logP, lse) => {
      const x = tensor(new Float32Array([value]), []);
      expect(await subject.softmax(x)).toEqual({ data: new Float32Array([p]), shape: [], dtype: "f32" });
      expect(await subject.logSoftmax(x, { axis: 0 })).toEqual({ data: new Float32Array([logP]), shape: [], dtype: "f32" });
      expect(await subject.logSumExp(x)).toEqual({ data: new Float32Array([lse]), shape: [], dtype: "f32" });
    });

    test("the log-sum-exp of an empty row is -inf", async () => {
      expect(await subject.logSumExp(new Float32Array(0))).toEqual({ data: new Float32Array([-INF]), shape: [], dtype: "f32" });
      expect((await subject.logSumExp(tensor(new Float32Array(0), [2, 0]))).data).toEqual(new Float32Array([-INF, -INF]));
      for (const dtype of subject.dtypes) {
        const [none, data] = dtype === "f32" ? [new Float32Array(0), new Float32Array([-INF, -INF])] : [new Float64Array(0), new Float64Array([-INF, -INF])];
        expect(await subject.logSumExp(tensor(none, [2, 0]), { keepDims: true })).toEqual({ data, shape: [2, 1], dtype });
      }
    });

    test("an empty batch has an empty result", async () => {
      expect(await subject.logSumExp(tensor(new Float32Array(0), [0, 4]))).toEqual({ data: new Float32Array(0), shape: [0], dtype: "f32" });
    });
  });
});
