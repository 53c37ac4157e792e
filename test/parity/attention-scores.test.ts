import { describe, expect, test } from "vitest";
import { type Layout, tensor } from "../../src/index.ts";
import { type AttentionCase, DIM_CASES, EMPTY_CASES, OPTION_CASES, attentionCase } from "../cases/attention.ts";
import { COMBINED_OPTIONS, SINGLE_OPTIONS, biasWithHoles, documents, mask, sinks } from "../cases/attention-options.ts";
import type { AttentionOptions, Stage } from "../reference/attention.ts";
import {
  type Operands,
  Placements,
  expectedScores,
  largestMagnitude,
  libraryOptions,
  operandsFor,
  run,
  shapesOf,
  swapMiddle,
  toleranceFor,
} from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { expectClose, expectSameBits } from "../support/tolerances.ts";
import { type Home, type Subject, describeSubjects, disposeOf } from "../support/subjects.ts";

const STAGES: readonly Stage[] = ["raw", "softcapped", "masked", "probabilities"];

async function scoresOf(
  subject: Subject,
  { sizes, q, k }: Operands,
  options: AttentionOptions,
  stage: Stage,
  home: Home = "array",
  layout: Layout = "bhld",
): Promise<Float32Array> {
  const placements = new Placements(subject, home);
  const shapes = shapesOf(sizes);
  const view = async (values: Float32Array, shape: readonly [number, number, number, number]) => {
    const [batch, second, third, dim] = shape;
    return layout === "bhld" ? await placements.floats(values, shape) : await placements.floats(swapMiddle(values, shape), [batch, third, second, dim]);
  };
  const scores = await subject.attentionScores(await view(q, shapes.q), await view(k, shapes.k), {
    ...(await libraryOptions(options, sizes, placements)),
    layout,
    stage,
  });
  expect(scores.shape).toEqual([sizes.batch, sizes.heads, sizes.queries, sizes.keys]);
  expect(scores.dtype).toBe("f32");
  const data = (await subject.read(scores)) as Float32Array;
  disposeOf(scores);
  placements.dispose();
  return data;
}

describeSubjects("attentionScores", (subject) => {
  async function check(c: AttentionCase, options: AttentionOptions, label: string, layouts: readonly Layout[] = ["bhld"]): Promise<void> {
    const operands = operandsFor(c);
    const tolerance = toleranceFor(operands, options, subject.kind);
    const used = await subject.usedBytes?.();
    for (const stage of STAGES) {
      const expected = expectedScores(operands, options, stage);
      for (const layout of layouts) {
        for (const home of subject.homes) {
          const actual = await scoresOf(subject, operands, options, stage, home, layout);
          expectClose(actual, expected, stage === "probabilities" ? tolerance.probabilities : tolerance.scores, `${label}, ${stage}, ${home}, ${layout}`);
        }
      }
    }
    expect(await subject.usedBytes?.()).toBe(used);
  }

  // Every other shape: there is one kernel for scores, where attention has two.
  describe.each(byName(OPTION_CASES.filter((_, i) => i % 2 === 0)))("%s", (_, c) => {
    test.each(byName([...SINGLE_OPTIONS, ...COMBINED_OPTIONS]))("%s", async (name, { optionsFor }) => await check(c, optionsFor(c), name, ["bhld", "blhd"]));
  });

  test.each(byName(DIM_CASES.filter(({ queries }) => queries === 10)))("%s", async (name, c) => await check(c, { causal: true }, name));

  test.each(byName(EMPTY_CASES))("%s", async (name, c) => await check(c, { causal: true, sinks: sinks(c) }, name));

  test('"probabilities" is the default', async () => {
    const c = attentionCase({ heads: 2, queries: 3, keys: 9, dim: 4 });
    const { q, k } = operandsFor(c);
    const shapes = shapesOf(c);
    expectSameBits(
      (await subject.attentionScores(tensor(q, shapes.q), tensor(k, shapes.k))).data,
      await scoresOf(subject, operandsFor(c), {}, "probabilities"),
    );
  });

  describe("probabilities", () => {
    const c = attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 37, keys: 130, dim: 8, valueDim: 5 });
    const operands = operandsFor(c);
    const OPTIONS: readonly { name: string; options: AttentionOptions }[] = [
      { name: "no option", options: {} },
      { name: "causal with empty rows", options: { causal: true, queryOffset: -3 } },
      { name: "mask and bias", options: { mask: mask([37, 130]), bias: biasWithHoles([4, 37, 130]) } },
      { name: "blockMask", options: { blockMask: documents(1, 4) } },
      { name: "sinks", options: { sinks: sinks(c), softcap: 4 } },
      { name: "lengths and sinks", options: { sinks: sinks(c), kvLengths: [130, 0], qLengths: [37, 20], causal: true } },
    ];

    test.each(byName(OPTIONS))("times values are attention, %s", async (_, { options }) => {
      const p = await scoresOf(subject, operands, options, "probabilities");
      const { out } = await run(subject, operands, options);
      const product = Float64Array.from({ length: out.length }, (_, at) => {
        const [row, e] = [Math.floor(at / 5), at % 5];
        const kvHead = Math.floor(row / 37 / 4) * 2 + Math.floor((Math.floor(row / 37) % 4) / 2);
        let sum = 0;
        for (let j = 0; j < 130; j++) sum += (p[row * 130 + j] ?? NaN) * (operands.v[(kvHead * 130 + j) * 5 + e] ?? NaN);
        return sum;
      });
      expectClose(out, product, { relative: 0, absolute: 2 * toleranceFor(operands, options, subject.kind).out.absolute });
    });

    test.each(byName(OPTIONS))("sum to one, less the sink's share, or to nothing, %s", async (_, { options }) => {
      const p = await scoresOf(subject, operands, options, "probabilities");
      const { lse } = await run(subject, operands, options);
      lse.forEach((l, row) => {
        const sum = p.slice(row * 130, row * 130 + 130).reduce((s, v) => s + v, 0);
        const sink = options.sinks?.[Math.floor(row / 37) % 4];
        const expected = l === -Infinity ? 0 : sink === undefined ? 1 : 1 - Math.exp(sink - l);
        expect(Math.abs(sum - expected), `row ${row}`).toBeLessThanOrEqual(l === -Infinity ? 0 : 3e-6);
      });
    });
  });

  test("raw and softcapped scores are those of all keys", async () => {
    const c = attentionCase({ batch: 2, queries: 5, keys: 70, dim: 4 });
    const operands = operandsFor(c);
    const hidden: AttentionOptions = {
      causal: true,
      kvLengths: [3, 0],
      qLengths: [2, 5],
      mask: { values: [0], shape: [1] },
      bias: { values: [NaN], shape: [1] },
      softcap: 3,
    };
    for (const stage of ["raw", "softcapped"] as const) {
      expectSameBits(await scoresOf(subject, operands, hidden, stage), await scoresOf(subject, operands, { softcap: 3 }, stage), stage);
    }
    expect(largestMagnitude(await scoresOf(subject, operands, hidden, "softcapped"))).toBeLessThanOrEqual(3);
  });

  test("has as many dimensions as the queries", async () => {
    const [q, k] = [operandsFor(attentionCase({ queries: 6, keys: 6, dim: 4 })).q, operandsFor(attentionCase({ queries: 6, keys: 8, dim: 3 })).k];
    expect((await subject.attentionScores(tensor(q, [6, 4]), tensor(k, [6, 4]))).shape).toEqual([6, 6]);
    expect((await subject.attentionScores(tensor(q, [2, 3, 4]), tensor(k, [1, 6, 4]))).shape).toEqual([2, 3, 6]);
    expect((await subject.attentionScores(tensor(q, [3, 2, 4]), tensor(k, [6, 1, 4]), { layout: "blhd" })).shape).toEqual([2, 3, 6]);
  });
});
