import { describe, expect, test } from "vitest";
import { outputsOf } from "../../src/backend/wasm/drivers/compute.ts";
import { planAttention } from "../../src/backend/wasm/plans/attention.ts";
import { planMerge } from "../../src/backend/wasm/plans/merge.ts";
import { planScores } from "../../src/backend/wasm/plans/scores.ts";
import { TUNING } from "../../src/backend/wasm/plans/schedule.ts";
import { type AttentionResultWithLse, type Tensor, tensor } from "../../src/index.ts";
import { parseAttention } from "../../src/ops/attention.ts";
import { parseAttentionScores } from "../../src/ops/attention-scores.ts";
import { parseMergeStates } from "../../src/ops/merge-states.ts";
import { createRuntime } from "../../src/backend/wasm/module/runtime.ts";
import { type AttentionSizes, attentionCase } from "../cases/attention.ts";
import { COMBINED_OPTIONS, SINGLE_OPTIONS } from "../cases/attention-options.ts";
import { Placements, libraryOptions, operandsFor, shapesOf } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { numbers } from "../support/numbers.ts";
import { runDivided } from "../support/plans.ts";
import { subjectOf } from "../support/subjects.ts";
import { FINEST } from "../support/threads.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

// Neither the number of threads nor the size of a stage is an input: however a plan divides a call, its bits are those of one thread.

const MIB = 1 << 20;

/** Decode in one chunk and in several, prefill with a part of a block, several heads and batches. */
const CASES = [
  attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 3, keys: 2100, dim: 8, valueDim: 12 }, "decode in chunks"),
  attentionCase({ batch: 2, heads: 6, kvHeads: 3, queries: 2, keys: 70, dim: 5, valueDim: 9 }, "decode"),
  attentionCase({ heads: 4, kvHeads: 2, queries: 70, keys: 1100, dim: 4, valueDim: 8 }, "prefill"),
];

/** From a stage that holds as little as possible to one that holds all. */
const STAGES = [1 << 12, 1 << 18, 40 * MIB];
const DIVISIONS = STAGES.flatMap((stageBytes) =>
  [
    { threads: 1, tuning: TUNING },
    { threads: 2, tuning: FINEST },
    { threads: 3, tuning: TUNING },
  ].map((machine) => ({ ...machine, stageBytes })),
);

describeVariants("plans of attention", (instance, variant) => {
  const runtime = createRuntime(variant);
  const placements = new Placements(subjectOf(instance), "array");

  describe.each(byName(CASES))("%s", (_, sizes) => {
    const { q, k, v } = operandsFor(sizes);
    const shapes = shapesOf(sizes);
    const [qt, kt, vt] = [tensor(q, shapes.q), tensor(k, shapes.k), tensor(v, shapes.v)];

    test.each(byName([...SINGLE_OPTIONS, ...COMBINED_OPTIONS]))("%s", async (_, { optionsFor }) => {
      const options = await libraryOptions(optionsFor(sizes), sizes, placements);
      const expected = instance.attention(qt, kt, vt, { ...options, returnLse: true });
      const scores = instance.attentionScores(qt, kt, options);
      for (const [i, machine] of DIVISIONS.entries()) {
        const label = `${machine.threads} threads, stages of ${machine.stageBytes}`;
        const call = parseAttention(qt, kt, vt, { ...options, returnLse: true });
        const { result, stages } = runDivided<typeof call, AttentionResultWithLse>(runtime, planAttention, call, machine, i);
        expectSameBits(result.out.data, expected.out.data, label);
        expectSameBits(result.lse.data, expected.lse.data, `${label}, log-sum-exp`);
        if (machine.stageBytes === 40 * MIB && machine.threads > 1) expect(stages, `${label}: stages`).toBe(1);
        // A third of the divisions is enough for what they share.
        if (i % 4 !== 0) continue;
        const scoresCall = parseAttentionScores(qt, kt, options);
        expectSameBits(runDivided<typeof scoresCall, Tensor<"f32">>(runtime, planScores, scoresCall, machine, i).result.data, scores.data, `${label}, scores`);
      }
      expect(runtime.memory.usedBytes).toBe(0);
    });
  });

  test("of merging", () => {
    const parts = [1, 2, 3].map((seed) => ({
      out: tensor(numbers("normal", 2 * 3 * 50 * 7, seed), [2, 3, 50, 7]),
      lse: tensor(numbers("holes", 300, seed), [2, 3, 50]),
    }));
    const call = parseMergeStates(parts);
    const expected = runDivided<typeof call, AttentionResultWithLse>(runtime, planMerge, call, { threads: 1, stageBytes: MIB, tuning: TUNING }, 1).result;
    for (const [i, machine] of DIVISIONS.entries()) {
      const { result } = runDivided<typeof call, AttentionResultWithLse>(runtime, planMerge, call, machine, i);
      expectSameBits(result.out.data, expected.out.data, `${machine.threads} threads, stages of ${machine.stageBytes}`);
      expectSameBits(result.lse.data, expected.lse.data, `${machine.threads} threads, stages of ${machine.stageBytes}, log-sum-exp`);
    }
  });

  test("divide decode of few heads into chunks that merge, and of many heads by heads", () => {
    const of = (heads: number) => {
      const [x, cache] = [tensor(new Float32Array(heads * 8), [heads, 1, 8]), tensor(new Float32Array(5000 * 8), [heads, 5000, 8], { strides: [0, 8, 1] })];
      return runDivided(runtime, planAttention, parseAttention(x, cache, cache), { threads: 2, stageBytes: 40 * MIB, tuning: { ...TUNING, taskNs: 0 } }, 1);
    };
    expect(of(1)).toMatchObject({ stages: 1, tasks: 5, groups: 1 });
    expect(of(8)).toMatchObject({ stages: 1, tasks: 40, groups: 8 });
    expect(of(40)).toMatchObject({ stages: 1, tasks: 40, groups: 0 });
  });

  test.each<[Partial<AttentionSizes>, "attention_rows_f32" | "attention_block_f32"]>([
    [{ queries: 1 }, "attention_rows_f32"],
    [{ heads: 7, kvHeads: 1, queries: 1 }, "attention_rows_f32"],
    [{ heads: 8, kvHeads: 8, queries: 7 }, "attention_rows_f32"],
    [{ heads: 8, kvHeads: 1, queries: 1 }, "attention_block_f32"],
    [{ heads: 2, kvHeads: 1, queries: 4 }, "attention_block_f32"],
    [{ queries: 8 }, "attention_block_f32"],
    // The last block has one row.
    [{ queries: 65 }, "attention_block_f32"],
  ])("take a kernel by the rows of a key head alone: %o", async (rows, expected) => {
    for (const batch of [1, 9]) {
      for (const keys of [1, 2100]) {
        const sizes = attentionCase({ queries: 1, keys, dim: 4, ...rows, batch });
        const shapes = shapesOf(sizes);
        const { q, k, v } = operandsFor(sizes);
        for (const { optionsFor } of [{ optionsFor: () => ({}) }, ...COMBINED_OPTIONS.slice(0, 2)]) {
          const options = await libraryOptions(optionsFor(sizes), sizes, placements);
          const call = parseAttention(tensor(q, shapes.q), tensor(k, shapes.k), tensor(v, shapes.v), options);
          const plan = planAttention(call, outputsOf(call), { memory: runtime.memory, threads: 1, divides: false, stageBytes: MIB, tuning: TUNING });
          const next = plan.stages(MIB);
          for (let stage = next(); stage !== undefined; stage = next()) {
            const names = stage.tasks.flatMap(({ calls }) => calls.map(({ kernel }) => kernel)).filter((name) => name !== "attention_merge_f32");
            expect(new Set(names)).toEqual(new Set([expected]));
          }
        }
      }
    }
  });

  test("keep to the memory of a stage, but for the keys of one head", () => {
    const planned = (heads: number, keys: number, dim: number, options = {}) => {
      const x = tensor(new Float32Array(keys * dim), [heads, keys, dim], { strides: [0, dim, 1] });
      const call = parseAttention(x, x, x, options);
      // The output is only planned for.
      const out = { data: x.data, strides: [keys * dim, dim, 1], tensor: x };
      const outputs = { ...outputsOf({ ...call, results: {} }), out: { ...out, data: call.operands.q.data as never } };
      return planAttention(call, outputs, { memory: runtime.memory, threads: 2, divides: true, stageBytes: 40 * MIB, tuning: TUNING });
    };
    for (const plan of [planned(8, 32768, 64), planned(8, 2048, 64), planned(32, 4096, 128), planned(8, 32768, 64, { bias: new Float32Array(32768) })])
      expect(plan.stageBytes + 3 * plan.threadBytes).toBeLessThanOrEqual(41 * MIB);
    // Keys and values of a head alone take 64 MiB.
    expect(planned(2, 65536, 128).stageBytes).toBeLessThanOrEqual(66 * MIB);
  });
});
