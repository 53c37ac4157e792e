import { expect, test } from "vitest";
import type { AttentionSizes } from "../cases/attention.ts";
import { bias, biasWithHoles, documents, mask, maskWithEmptyRows, tiles } from "../cases/attention-options.ts";
import type { AttentionOptions } from "../reference/attention.ts";
import { waysOf, expectAttention, expectedOf, operandsFor, run, toleranceFor } from "../support/attention.ts";
import { fc } from "../support/property.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { type Subject, describeSubjects } from "../support/subjects.ts";

/** What a call is made of, so that a counterexample fits a few lines and shrinks to the options that matter. */
const callOn = (subject: Subject) =>
  fc
    .record({
      batch: fc.integer({ min: 1, max: 2 }),
      kvHeads: fc.integer({ min: 1, max: 3 }),
      group: fc.constantFrom(1, 1, 2, 3, 4),
      queries: fc.constantFrom(0, 1, 2, 3, 5, 7, 8, 9, 16, 33, 63, 64, 65, 70, 130),
      keys: fc.constantFrom(0, 1, 2, 3, 4, 5, 7, 8, 15, 63, 64, 65, 66, 100, 127, 128, 129, 200, 1030),
      dim: fc.constantFrom(1, 2, 3, 4, 5, 8, 13, 16, 32, 40),
      valueDim: fc.constantFrom(1, 2, 3, 4, 7, 8, 9, 16, 24, 40),
      seed: fc.nat(1000),
    })
    .chain(({ kvHeads, group, seed, ...rest }) => {
      const sizes = { ...rest, kvHeads, heads: kvHeads * group };
      return fc.record({ sizes: fc.constant(sizes), seed: fc.constant(seed), options: optionsOf(sizes, seed), way: fc.constantFrom(...waysOf(subject)) });
    });

/** Each option is given to every other call, with any value. */
function optionsOf(sizes: AttentionSizes, seed: number): fc.Arbitrary<AttentionOptions> {
  const { batch, heads, queries, keys } = sizes;
  const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined, freq: 2 });
  const per = <T>(count: number, value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { minLength: count, maxLength: count });
  const offset = fc.integer({ min: -5, max: keys + 3 });
  const kept = fc.tuple(fc.boolean(), fc.boolean(), fc.boolean(), fc.boolean());
  const shape = kept.map(([b, h, l, s]) => [b ? batch : 1, h ? heads : 1, l ? queries : 1, s ? keys : 1]);
  return fc.record({
    causal: maybe(fc.constantFrom(true, "lower-right" as const, "upper-left" as const)),
    windowSize: maybe(fc.tuple(fc.oneof(fc.nat(100), fc.constant(Infinity)), fc.oneof(fc.nat(20), fc.constant(Infinity)))),
    queryOffset: maybe(fc.oneof(offset, per(batch, offset))),
    scale: maybe(fc.constantFrom(0, -0.3, 1, 3)),
    softcap: maybe(fc.constantFrom(0, 1, 7.5, 30)),
    alibiSlopes: maybe(per(heads, fc.constantFrom(0, 0.5, 1 / 256, 0.3))),
    sinks: maybe(per(heads, fc.constantFrom(-Infinity, -3, 0, 2.5))),
    kvLengths: maybe(per(batch, fc.nat(keys))),
    qLengths: maybe(per(batch, fc.nat(queries))),
    mask: maybe(shape.chain((of) => fc.constantFrom(mask(of, seed), maskWithEmptyRows(of)))),
    bias: maybe(shape.chain((of) => fc.constantFrom(bias(of, seed), biasWithHoles(of, seed)))),
    blockMask: maybe(fc.tuple(fc.boolean(), fc.boolean(), fc.constantFrom(documents, tiles)).map(([b, h, make]) => make(b ? batch : 1, h ? heads : 1))),
  });
}

describeSubjects("properties of attention", (subject) => {
  const call = callOn(subject);

  test("any options together agree with the reference, wherever the operands lie", async () => {
    const used = await subject.usedBytes?.();
    let rows = 0;
    let blind = 0;
    await fc.assert(
      fc.asyncProperty(call, async ({ sizes, seed, options, way }) => {
        const operands = operandsFor(sizes, seed);
        const expected = expectedOf(operands, options);
        expectAttention(await run(subject, operands, options, way), expected, toleranceFor(operands, options, subject.kind), "attention");
        rows += expected.lse.length;
        blind += expected.lse.filter((lse) => lse === -Infinity).length;
      }),
      { numRuns: 400 },
    );
    expect(await subject.usedBytes?.()).toBe(used);
    expect(blind / rows, "queries that see nothing; were they most, this would test little").toBeLessThan(0.6);
  });

  test("any options together have the same bits everywhere", async () => {
    await fc.assert(
      fc.asyncProperty(call, async ({ sizes, seed, options, way }) => {
        const operands = operandsFor(sizes, seed);
        const [plain, other] = [await run(subject, operands, options), await run(subject, operands, options, way)];
        expectSameBits(other.out, plain.out);
        expectSameBits(other.lse, plain.lse);
      }),
    );
  });
});
