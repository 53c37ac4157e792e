import { describe, expect, test } from "vitest";
import { type TensorLike, tensor } from "../../src/index.ts";
import { countOf, rowIndices } from "../reference/indices.ts";
import { layoutsIn, place } from "../support/layouts.ts";
import { ALL_KINDS, STANDARD_KINDS, maskBytes, numbersOf, random } from "../support/numbers.ts";
import { OPS, call } from "../support/operands.ts";
import { fc, length, made, row, shuffled } from "../support/property.ts";
import { type Tolerance, expectClose, expectSameBits, toleranceOf, withModifiers } from "../support/tolerances.ts";
import { describeSubjects } from "../support/subjects.ts";
import { describeVariants } from "../support/variants.ts";

/** Two results may each be off by the tolerance, to opposite sides. */
function twice({ relative, absolute }: Tolerance): Tolerance {
  return { relative: 2 * relative, absolute: 2 * absolute };
}

/** By how much a larger element may fall behind: what the exponential is off by, 3 + 2d ULP on the GPU for d up to where it underflows. */
const MONOTONE = { wasm: 2 ** -22, webgpu: 180 * 2 ** -23 } as const;

/** Kinds with a finite element in every row. */
const FINITE_KINDS = ALL_KINDS.filter((kind) => kind !== "holes");
const SHIFTED = ["safe", "online", "auto"] as const;

describeSubjects("properties of rows", (subject) => {
  const f32 = toleranceOf("softmax", "f32", subject.kind);

  test("adding a constant to a row changes no bit, where the sums are exact", async () => {
    await fc.assert(
      fc.asyncProperty(length, fc.nat(1000), fc.integer({ min: -4096, max: 4096 }), async (count, seed, shift) => {
        // Multiples of 1/1024 up to 4128: adding and subtracting them is exact in f32.
        const next = random(seed);
        const x = Float32Array.from({ length: count }, () => Math.floor(next() * 65536 - 32768) / 1024);
        const moved = x.map((v) => v + shift);
        for (const algorithm of SHIFTED) {
          expectSameBits((await subject.softmax(moved, { algorithm })).data, (await subject.softmax(x, { algorithm })).data, algorithm);
        }
        expectSameBits((await subject.logSoftmax(moved)).data, (await subject.logSoftmax(x)).data);
        expectClose(
          (await subject.logSumExp(moved)).data,
          [((await subject.logSumExp(x)).data[0] ?? NaN) + shift],
          twice(toleranceOf("logSumExp", "f32", subject.kind)),
        );
      }),
    );
  });

  test.each(["standard", ...SHIFTED] as const)("rows sum to one, %s", async (algorithm) => {
    await fc.assert(
      fc.asyncProperty(row(algorithm === "standard" ? STANDARD_KINDS : FINITE_KINDS), async (r) => {
        const p = Float64Array.from((await subject.softmax(made(r), { algorithm })).data);
        expect(p.every((v) => v >= 0 && v <= 1 + f32.relative)).toBe(true);
        expect(Math.abs(p.reduce((sum, v) => sum + v, 0) - 1)).toBeLessThanOrEqual(f32.relative + p.length * f32.absolute);
      }),
    );
  });

  test("a larger element never has a smaller probability", async () => {
    await fc.assert(
      fc.asyncProperty(row(FINITE_KINDS), async (r) => {
        // Within one block: the online algorithm scales blocks by different, rounded factors.
        const x = made(r).subarray(0, 1024);
        const p = (await subject.softmax(x)).data;
        const order = [...x.keys()].sort((a, b) => (x[a] ?? 0) - (x[b] ?? 0));
        for (let i = 1; i < order.length; i++)
          expect(p[order[i] ?? 0]).toBeGreaterThanOrEqual((p[order[i - 1] ?? 0] ?? NaN) * (1 - MONOTONE[subject.kind]) - (subject.denormals ? 0 : 1.2e-38));
      }),
      { numRuns: 50 },
    );
  });

  test("permuting a row permutes its probabilities", async () => {
    await fc.assert(
      fc.asyncProperty(row(), fc.nat(1000), async (r, seed) => {
        const x = made(r);
        const order = shuffled(x.length, seed);
        const permuted = Float32Array.from(order, (i) => x[i] ?? NaN);
        for (const op of OPS) {
          const direct = (await call(subject, op, x, {})).data;
          const expected = op === "logSumExp" ? direct : Float32Array.from(order, (i) => direct[i] ?? NaN);
          expectClose((await call(subject, op, permuted, {})).data, expected, twice(toleranceOf(op, "f32", subject.kind)), op);
        }
      }),
    );
  });

  test("safe, online and auto agree", async () => {
    await fc.assert(
      fc.asyncProperty(row(), async (r) => {
        const safe = (await subject.softmax(made(r), { algorithm: "safe" })).data;
        for (const algorithm of SHIFTED) expectClose((await subject.softmax(made(r), { algorithm })).data, safe, twice(f32), algorithm);
      }),
    );
  });

  test("log-softmax is x minus log-sum-exp, and its exponential is softmax", async () => {
    await fc.assert(
      fc.asyncProperty(row(FINITE_KINDS), async (r) => {
        const x = made(r);
        const [p, logP, lse] = [(await subject.softmax(x)).data, (await subject.logSoftmax(x)).data, (await subject.logSumExp(x)).data[0] ?? NaN];
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
    const anywhere = fc.constantFrom(...subject.homes.flatMap((home) => layoutsIn(home).map((layout) => ({ home, layout }))));
    const call3d = fc.record({
      op: fc.constantFrom(...OPS),
      dtype: fc.constantFrom(...subject.dtypes),
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
      from: anywhere,
      to: anywhere,
      inPlace: fc.boolean(),
      modified: fc.boolean(),
      safe: fc.boolean(),
    });

    test("any shape, axis, layout, memory, option", async () => {
      await fc.assert(
        fc.asyncProperty(call3d, async ({ op, dtype, algorithm, kind, seed, shape, axis: anyAxis, from, to, inPlace, modified, safe }) => {
          const axis = anyAxis % shape.length;
          const x = numbersOf(dtype, kind, countOf(shape), seed);
          const own = op === "softmax" ? { algorithm, safe } : op === "logSoftmax" ? { safe } : {};
          const bias = numbersOf(dtype, "normal", countOf(shape), seed + 1);
          const mask = maskBytes(countOf(shape), seed);
          const options = { ...own, ...(modified ? { scale: -0.7, bias: tensor(bias, shape), mask: { data: mask, shape } } : {}), axis };
          const run = async (input: TensorLike, given: object): Promise<Float32Array | Float64Array> => (await subject[op](input, given)).data;

          const resultShape = op === "logSumExp" ? shape.filter((_, d) => d !== axis) : shape;
          const input = await place(subject, dtype, shape, { ...from, values: x });
          const output = inPlace && op !== "logSumExp" ? input : await place(subject, dtype, resultShape, to);
          await run(input.tensor, { ...options, out: output.tensor });
          await output.expectSentinels("output");
          if (output !== input) expectSameBits(await input.values(), x, "the input");

          const result = await output.values();
          const rows = [...rowIndices(shape, [axis])];
          // Of many rows some, at places that differ from run to run.
          const step = Math.ceil(rows.length / 20);
          for (let r = seed % step; r < rows.length; r += step) {
            const indices = rows[r] ?? new Int32Array(0);
            const take = <A extends Float32Array | Float64Array | Uint8Array>(all: A): A =>
              all.slice(0, indices.length).map((_, i) => all[indices[i] ?? -1] ?? NaN) as A;
            const alone = await run(take(x), { ...own, ...(modified ? { scale: -0.7, bias: take(bias), mask: take(mask) } : {}) });
            const [actual, label] = [op === "logSumExp" ? result.slice(r, r + 1) : take(result), `row ${r}`];
            // On the GPU the kernel follows from how rows lie and how many there are.
            if (subject.kind === "wasm") expectSameBits(actual, alone, label);
            else expectClose(actual, alone, twice(withModifiers(op, dtype, modified ? 230 : 0, subject.kind)), label);
          }
          input.dispose();
          output.dispose();
        }),
        { numRuns: 300 },
      );
    });
  });
});

describeVariants("properties of pushed rows", (instance) => {
  test("the bits of a pushed block do not depend on its neighbours", () => {
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
