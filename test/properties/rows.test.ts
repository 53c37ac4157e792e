import { describe, expect, test } from "vitest";
import { type TensorLike, tensor } from "../../src/index.ts";
import { countOf, rowIndices } from "../reference/indices.ts";
import { HOMES, LAYOUTS, place } from "../support/layouts.ts";
import { ALL_KINDS, STANDARD_KINDS, maskBytes, numbersOf, random } from "../support/numbers.ts";
import { OPS, call } from "../support/operands.ts";
import { fc, length, made, row, shuffled } from "../support/property.ts";
import { type Tolerance, expectClose, expectSameBits, toleranceOf } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

/** Two results may each be off by the tolerance, to opposite sides. */
function twice({ relative, absolute }: Tolerance): Tolerance {
  return { relative: 2 * relative, absolute: 2 * absolute };
}

/** Kinds with a finite element in every row. */
const FINITE_KINDS = ALL_KINDS.filter((kind) => kind !== "holes");
const SHIFTED = ["safe", "online", "auto"] as const;

describeVariants("properties of rows", (instance) => {
  const f32 = toleranceOf("softmax", "f32");

  test("adding a constant to a row changes no bit, where the sums are exact", () => {
    fc.assert(
      fc.property(length, fc.nat(1000), fc.integer({ min: -4096, max: 4096 }), (count, seed, shift) => {
        // Multiples of 1/1024 up to 4128: adding and subtracting them is exact in f32.
        const next = random(seed);
        const x = Float32Array.from({ length: count }, () => Math.floor(next() * 65536 - 32768) / 1024);
        const moved = x.map((v) => v + shift);
        for (const algorithm of SHIFTED) {
          expectSameBits(instance.softmax(moved, { algorithm }).data, instance.softmax(x, { algorithm }).data, algorithm);
        }
        expectSameBits(instance.logSoftmax(moved).data, instance.logSoftmax(x).data);
        expectClose(instance.logSumExp(moved).data, [(instance.logSumExp(x).data[0] ?? NaN) + shift], twice(toleranceOf("logSumExp", "f32")));
      }),
    );
  });

  test.each(["standard", ...SHIFTED] as const)("rows sum to one, %s", (algorithm) => {
    fc.assert(
      fc.property(row(algorithm === "standard" ? STANDARD_KINDS : FINITE_KINDS), (r) => {
        const p = Float64Array.from(instance.softmax(made(r), { algorithm }).data);
        expect(p.every((v) => v >= 0 && v <= 1 + f32.relative)).toBe(true);
        expect(Math.abs(p.reduce((sum, v) => sum + v, 0) - 1)).toBeLessThanOrEqual(f32.relative + p.length * f32.absolute);
      }),
    );
  });

  test("a larger element never has a smaller probability", () => {
    fc.assert(
      fc.property(row(FINITE_KINDS), (r) => {
        // Within one block: the online algorithm scales blocks by different, rounded factors.
        const x = made(r).subarray(0, 1024);
        const p = instance.softmax(x).data;
        const order = [...x.keys()].sort((a, b) => (x[a] ?? 0) - (x[b] ?? 0));
        for (let i = 1; i < order.length; i++) expect(p[order[i] ?? 0]).toBeGreaterThanOrEqual((p[order[i - 1] ?? 0] ?? NaN) * (1 - 2 ** -22));
      }),
      { numRuns: 50 },
    );
  });

  test("permuting a row permutes its probabilities", () => {
    fc.assert(
      fc.property(row(), fc.nat(1000), (r, seed) => {
        const x = made(r);
        const order = shuffled(x.length, seed);
        const permuted = Float32Array.from(order, (i) => x[i] ?? NaN);
        for (const op of OPS) {
          const direct = call(instance, op, x, {}).data;
          const expected = op === "logSumExp" ? direct : Float32Array.from(order, (i) => direct[i] ?? NaN);
          expectClose(call(instance, op, permuted, {}).data, expected, twice(toleranceOf(op, "f32")), op);
        }
      }),
    );
  });

  test("safe, online and auto agree", () => {
    fc.assert(
      fc.property(row(), (r) => {
        const safe = instance.softmax(made(r), { algorithm: "safe" }).data;
        for (const algorithm of SHIFTED) expectClose(instance.softmax(made(r), { algorithm }).data, safe, twice(f32), algorithm);
      }),
    );
  });

  test("log-softmax is x minus log-sum-exp, and its exponential is softmax", () => {
    fc.assert(
      fc.property(row(FINITE_KINDS), (r) => {
        const x = made(r);
        const [p, logP, lse] = [instance.softmax(x).data, instance.logSoftmax(x).data, instance.logSumExp(x).data[0] ?? NaN];
        const magnitude = x.reduce((most, v) => Math.max(most, Math.abs(v)), Math.abs(lse));
        expectClose(
          logP,
          Float64Array.from(x, (v) => v - lse),
          { relative: 2e-7, absolute: 2e-6 + 1.2e-7 * magnitude },
        );
        for (let i = 0; i < p.length; i++) {
          const [exact, l] = [p[i] ?? NaN, logP[i] ?? NaN];
          expect(Math.abs(Math.exp(l) - exact)).toBeLessThanOrEqual(exact * (4e-6 + 4e-7 * Math.abs(l)) + 1e-13);
        }
      }),
      { numRuns: 50 },
    );
  });

  describe("a row's bits do not depend on the rest of the call", () => {
    const call3d = fc.record({
      op: fc.constantFrom(...OPS),
      dtype: fc.constantFrom("f32" as const, "f64" as const),
      algorithm: fc.constantFrom("standard" as const, "safe" as const, "online" as const, "auto" as const),
      kind: fc.constantFrom(...ALL_KINDS),
      seed: fc.nat(1000),
      shape: fc.oneof(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
        fc.tuple(fc.integer({ min: 1, max: 80 }), fc.integer({ min: 1, max: 300 })),
        fc.tuple(fc.constantFrom(1, 2, 3), fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 300 })),
        fc.tuple(fc.constantFrom(1, 2, 3), fc.integer({ min: 1000, max: 3000 })),
      ),
      axis: fc.nat(7),
      from: fc.record({ home: fc.constantFrom(...HOMES), layout: fc.constantFrom(...LAYOUTS) }),
      to: fc.record({ home: fc.constantFrom(...HOMES), layout: fc.constantFrom(...LAYOUTS), inPlace: fc.boolean() }),
      modified: fc.boolean(),
      safe: fc.boolean(),
    });

    test("any shape, axis, layout, memory, option", () => {
      fc.assert(
        fc.property(call3d, ({ op, dtype, algorithm, kind, seed, shape, axis: anyAxis, from, to, modified, safe }) => {
          const axis = anyAxis % shape.length;
          const x = numbersOf(dtype, kind, countOf(shape), seed);
          const own = op === "softmax" ? { algorithm, safe } : op === "logSoftmax" ? { safe } : {};
          const bias = numbersOf(dtype, "normal", countOf(shape), seed + 1);
          const mask = maskBytes(countOf(shape), seed);
          const options = { ...own, ...(modified ? { scale: -0.7, bias: tensor(bias, shape), mask: { data: mask, shape } } : {}), axis };
          const run = (input: TensorLike, given: object): Float32Array | Float64Array => instance[op](input, given).data;

          const resultShape = op === "logSumExp" ? shape.filter((_, d) => d !== axis) : shape;
          const input = place(instance, dtype, shape, { ...from, values: x });
          const output = to.inPlace && op !== "logSumExp" ? input : place(instance, dtype, resultShape, to);
          run(input.tensor, { ...options, out: output.tensor });
          output.expectSentinels("output");
          if (output !== input) expectSameBits(input.values(), x, "the input");

          const result = output.values();
          const rows = [...rowIndices(shape, [axis])];
          // Of many rows some, at places that differ from run to run.
          const step = Math.ceil(rows.length / 20);
          for (let r = seed % step; r < rows.length; r += step) {
            const indices = rows[r] ?? new Int32Array(0);
            const take = <A extends Float32Array | Float64Array | Uint8Array>(all: A): A =>
              all.slice(0, indices.length).map((_, i) => all[indices[i] ?? -1] ?? NaN) as A;
            const alone = run(take(x), { ...own, ...(modified ? { scale: -0.7, bias: take(bias), mask: take(mask) } : {}) });
            expectSameBits(op === "logSumExp" ? result.slice(r, r + 1) : take(result), alone, `row ${r}`);
          }
          input.dispose();
          output.dispose();
        }),
        { numRuns: 300 },
      );
    });

    test("nor do the bits of a pushed block on its neighbours", () => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: 90 }), length, fc.nat(1000), (rows, cols, seed) => {
          const x = numbersOf("f32", "wide", rows * Math.min(cols, 2000), seed);
          const width = x.length / rows;
          const state = instance.onlineSoftmax(rows).push(tensor(x, [rows, width]));
          const r = seed % rows;
          const one = x.slice(r * width, (r + 1) * width);
          const alone = instance.onlineSoftmax().push(one);
          expect([state.max[r], state.sum[r], state.logSumExp[r]]).toEqual([alone.max[0], alone.sum[0], alone.logSumExp[0]]);
          const normalized = state.normalize(tensor(x, [rows, width])).data.slice(r * width, (r + 1) * width);
          expectSameBits(normalized, alone.normalize(one).data);
        }),
        { numRuns: 60 },
      );
    });
  });
});
