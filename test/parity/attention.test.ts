import { describe, expect, test } from "vitest";
import { type AttentionCase, DECODE_LIMIT_CASES, DIM_CASES, EMPTY_CASES, KEY_COUNTS, OPTION_CASES, QUERY_COUNTS, attentionCase } from "../cases/attention.ts";
import { BROADCAST_OPTIONS, COMBINED_OPTIONS, type OptionCase, SINGLE_OPTIONS } from "../cases/attention-options.ts";
import { waysOf, expectAttention, expectedOf, operandsFor, run, toleranceFor } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { memoize } from "../support/memo.ts";
import { describeSubjects } from "../support/subjects.ts";
import type { Backend } from "../support/tolerances.ts";

// Attention against the reference: options × shapes, wherever and in whichever layout everything lies.

const NO_OPTION: OptionCase = { name: "no option", optionsFor: () => ({}) };
const CAUSAL: OptionCase = { name: "causal", optionsFor: () => ({ causal: true }) };
const EVERYTHING = COMBINED_OPTIONS.filter(({ name }) => name.startsWith("everything"));

/** Case and options are known by their names. */
const sample = memoize((c: AttentionCase, { optionsFor }: OptionCase, backend: Backend) => {
  const operands = operandsFor(c);
  const options = optionsFor(c);
  return { operands, options, expected: expectedOf(operands, options), tolerance: toleranceFor(operands, options, backend) };
});

describeSubjects("attention", (subject) => {
  async function check(c: AttentionCase, option: OptionCase, ways = waysOf(subject)): Promise<void> {
    const { operands, options, expected, tolerance } = sample(c, option, subject.kind);
    for (const way of ways) {
      expectAttention(await run(subject, operands, options, way), expected, tolerance, `${c.name}, ${option.name}, ${way.home}, ${way.layout}`);
    }
  }

  describe.each(byName(OPTION_CASES))("%s", (_, c) => {
    test.each(byName([...SINGLE_OPTIONS, ...COMBINED_OPTIONS]))("%s", async (_, option) => await check(c, option));
    test.each(byName(BROADCAST_OPTIONS))("%s", async (_, option) => await check(c, option, waysOf(subject).slice(0, 2)));
  });

  describe("sizes around every tile edge", () => {
    test.each(QUERY_COUNTS)("%i queries", async (queries) => {
      for (const keys of KEY_COUNTS) {
        const c = attentionCase({ queries, keys, dim: 4, valueDim: 5 });
        for (const option of [NO_OPTION, CAUSAL]) await check(c, option, waysOf(subject).slice(0, 2));
      }
    });
  });

  describe("where decode becomes prefill", () => {
    test.each(byName(DECODE_LIMIT_CASES))("%s", async (_, c) => {
      for (const option of [NO_OPTION, CAUSAL, ...EVERYTHING]) await check(c, option);
    });
  });

  describe("head dimensions", () => {
    test.each(byName(DIM_CASES))("%s", async (_, c) => {
      for (const option of [NO_OPTION, ...EVERYTHING]) await check(c, option);
    });
  });

  describe("nothing to do", () => {
    test.each(byName(EMPTY_CASES))("%s", async (_, c) => {
      for (const option of [...SINGLE_OPTIONS, ...COMBINED_OPTIONS]) await check(c, option);
    });
  });

  test("the head that a query head reads is floor(h / g)", async () => {
    // Each key head has a value of its own, so that the output names it.
    const operands = {
      sizes: attentionCase({ batch: 2, heads: 6, kvHeads: 2, queries: 2, keys: 3, dim: 4, valueDim: 1 }),
      ...{ q: new Float32Array(96), k: new Float32Array(48) },
    };
    const v = Float32Array.from({ length: 12 }, (_, i) => Math.floor(i / 3));
    expect([...(await run(subject, { ...operands, v })).out]).toEqual([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
  });
});
