import { describe, expect, test } from "vitest";
import { tensor } from "../../src/index.ts";
import { type AttentionCase, attentionCase } from "../cases/attention.ts";
import { VIT } from "../cases/shapes.ts";
import { type OptionCase, bias, documents, mask, slopes } from "../cases/attention-options.ts";
import * as reference from "../reference/attention.ts";
import { expectedOf, largestMagnitude, run, standardNormal } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { describeSubjects } from "../support/subjects.ts";
import { describeVariants } from "../support/variants.ts";

// How far results are from float64, compared with the plain implementation: three steps, every operation rounded to f32.

/**
 * What every implementation may be off by, relative to max |v|, however well the plain one happens to do; and at most, for a
 * thousand keys and more. The plain one has an exponential that is right to the last bit; on the GPU it may be off by 3 + 2d ULP
 * (support/tolerances.ts), d being 2 on average for standard normal scores: 8e-7, at random.
 */
const FLOOR = { wasm: 1e-7, webgpu: 8e-7 } as const;
const LONG = { wasm: 3e-7, webgpu: 1e-6 } as const;

/** Enough outputs that the largest error of the plain implementation is no accident. */
const CASES: readonly AttentionCase[] = [
  attentionCase({ heads: 8, queries: 4, keys: 300, dim: 64 }, "decode"),
  attentionCase({ heads: 8, kvHeads: 2, queries: 3, keys: 2100, dim: 32, valueDim: 40 }, "decode, three chunks"),
  attentionCase({ heads: 2, queries: 100, keys: 100, dim: 128 }, "prefill"),
  attentionCase({ heads: 2, queries: 70, keys: 520, dim: 16, valueDim: 24 }, "prefill, nine tiles"),
  attentionCase({ heads: 1, queries: 128, keys: 128, dim: 80 }, "head dimension 80"),
  attentionCase({ heads: 40, queries: 65, keys: 40, dim: 3, valueDim: 3 }, "head dimension 3"),
  attentionCase({ heads: 2, queries: 66, keys: 150, dim: 256, valueDim: 64 }, "head dimension 256"),
  // Two heads are as good as twelve, and done sooner.
  attentionCase({ ...VIT.call, heads: 2, kvHeads: 2 }, VIT.what),
];

const OPTIONS: readonly OptionCase[] = [
  { name: "no option", optionsFor: () => ({}) },
  { name: "causal", optionsFor: () => ({ causal: true }) },
  { name: "large scores", optionsFor: () => ({ scale: 2 }) },
  { name: "softcap", optionsFor: () => ({ softcap: 3 }) },
  { name: "ALiBi", optionsFor: (sizes) => ({ alibiSlopes: slopes(sizes) }) },
  { name: "bias and mask", optionsFor: ({ heads, queries, keys }) => ({ bias: bias([heads, queries, keys]), mask: mask([queries, keys]) }) },
  { name: "blockMask", optionsFor: () => ({ blockMask: documents(1, 1) }) },
  { name: "sinks", optionsFor: ({ heads }) => ({ sinks: Array.from({ length: heads }, () => 1) }) },
];

interface Sample {
  readonly operands: ReturnType<typeof standardNormal>;
  readonly options: reference.AttentionOptions;
  readonly exact: reference.Attended;
  /** Largest error of the plain implementation. */
  readonly plainError: number;
}

const sample = memoize((c: AttentionCase, { optionsFor }: OptionCase): Sample => {
  const operands = standardNormal(c);
  const options = optionsFor(c);
  const exact = expectedOf(operands, options);
  return { operands, options, exact, plainError: largestError(expectedOf(operands, options, reference.toF32).out, exact.out) };
});

function largestError(actual: ArrayLike<number>, expected: Float64Array): number {
  let largest = 0;
  expected.forEach((e, i) => {
    const error = Math.abs((actual[i] ?? NaN) - e);
    // The other way round NaN would pass.
    if (!(error <= largest)) largest = error;
  });
  return largest;
}

describeSubjects("accuracy of attention", (subject) => {
  describe.each(byName(CASES))("%s", (_, c) => {
    test.each(byName(OPTIONS))(`%s: at most twice the error of the plain implementation and ${FLOOR[subject.kind]}`, async (_, option) => {
      const { operands, options, exact, plainError } = sample(c, option);
      const error = largestError((await run(subject, operands, options)).out, exact.out);
      expect(plainError).toBeGreaterThan(0);
      expect(error).toBeLessThanOrEqual(2 * plainError + FLOOR[subject.kind] * largestMagnitude(operands.v));
    });
  });

  describe("8192 keys, standard normal", () => {
    test.each(
      byName([
        attentionCase({ heads: 8, queries: 1, keys: 8192, dim: 64 }, "one row"),
        attentionCase({ heads: 2, queries: 8, keys: 8192, dim: 64 }, "decode"),
        attentionCase({ heads: 1, queries: 65, keys: 8192, dim: 64 }, "prefill"),
        attentionCase({ heads: 3, kvHeads: 1, queries: 2, keys: 8192, dim: 128 }, "few rows"),
      ]),
    )(`%s: at most ${LONG[subject.kind]} · max |v|`, async (_, c) => {
      const { operands, exact, plainError } = sample(c, { name: "8192 keys", optionsFor: () => ({}) });
      const error = largestError((await run(subject, operands)).out, exact.out);
      expect(error).toBeLessThanOrEqual(LONG[subject.kind] * largestMagnitude(operands.v));
      expect(error).toBeLessThanOrEqual(2 * plainError + FLOOR[subject.kind] * largestMagnitude(operands.v));
      // Were the measurement broken, it would find a kernel without error.
      expect(error).toBeGreaterThan(0);
    });
  });
});

describeVariants("attention over a long context", (instance) => {
  test.each([1, 2, 5])("gives equal values to 1e-6 at 131072 keys, %i rows", (rows) => {
    const keys = 131072;
    const out = instance.attention(
      tensor(new Float32Array(rows), [rows, 1, 1]),
      tensor(new Float32Array(keys), [1, keys, 1]),
      tensor(new Float32Array(keys * 3).fill(0.1), [1, keys, 3]),
    );
    for (const value of out.data) expect(Math.abs(value / Math.fround(0.1) - 1)).toBeLessThanOrEqual(1e-6);
  });
});
