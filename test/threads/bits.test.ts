import type { MaskLike } from "../../src/tensor/tensor.ts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Cpu } from "../../src/backend/wasm/drivers/cpu.ts";
import { type Tensor, tensor } from "../../src/index.ts";
import { createInstance } from "../../src/testing/testing.ts";
import { COMBINED_OPTIONS, SINGLE_OPTIONS } from "../cases/attention-options.ts";
import { type AttentionCase, DECODE_LIMIT_CASES, OPTION_CASES, attentionCase } from "../cases/attention.ts";
import { LARGE_PRODUCTS } from "../cases/products.ts";
import { AXIS_CASES, BROADCAST_CASES, REDUCTION_CASES, SIZE_CASES } from "../cases/rows.ts";
import { countOf } from "../reference/indices.ts";
import { type Way, operandsFor, run } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { LAYOUTS, place } from "../support/layouts.ts";
import { maskBytes, numbers, numbersOf } from "../support/numbers.ts";
import { ALGORITHMS, OPS, call, reducedShape } from "../support/operands.ts";
import { type Subject, subjectOf } from "../support/subjects.ts";
import { COARSE, FINEST, startCpu, subjectOfCpu } from "../support/threads.ts";
import { type FloatType, expectSameBits } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

// The number of threads is no input: results have the bits of one thread, for 2, 3, 5 and 8 of them, however finely a call is cut.

/** Operands in both layouts, in arrays and in module memory. */
const WAYS: readonly Way[] = (["bhld", "blhd"] as const).flatMap((layout) => (["array", "module"] as const).map((home) => ({ home, layout })));

const COUNTS = [2, 3, 5, 8];
const TUNINGS = [
  ["finest", FINEST],
  ["coarse", COARSE],
] as const;

describeVariants("the same bits on any number of threads", (instance, variant) => {
  const one = subjectOf(instance);
  const cpus: Cpu[] = [];
  const subjects: Subject[] = [];

  beforeAll(async () => {
    for (const threads of COUNTS) cpus.push(await startCpu(threads, { variant, tuning: (threads % 2 === 0 ? TUNINGS[0] : TUNINGS[1])[1] }));
    subjects.push(...cpus.map(subjectOfCpu));
  });
  afterAll(() => {
    for (const cpu of cpus) cpu.dispose();
  });

  test("threads take part: a call with tasks for all is shared", () => {
    expect(cpus.map(({ threads }) => threads)).toEqual(COUNTS);
    for (const cpu of cpus) expect(cpu.reasons).toEqual([]);
  });

  /** Runs the same on one thread and on every number of threads. */
  async function expectSame<F extends Float32Array | Float64Array>(label: string, compute: (subject: Subject) => Promise<F> | F): Promise<void> {
    const expected = await compute(one);
    for (const [i, subject] of subjects.entries()) {
      const used = cpus[i]?.runtime.memory.usedBytes;
      expectSameBits(await compute(subject), expected, `${label}, ${subject.name}`);
      expect(cpus[i]?.runtime.memory.usedBytes, `${label}, ${subject.name}: memory in use after the call`).toBe(used);
    }
  }

  test.each(byName(LARGE_PRODUCTS))("linear and matmul, %s", async (_, { rows, cols, depth }) => {
    const [x, w] = [tensor(numbers("normal", rows * depth, 1), [rows, depth]), tensor(numbers("normal", cols * depth, 2), [cols, depth])];
    await expectSame("linear", async (subject) => (await subject.linear(x, w)).data);
    await expectSame("matmul", async (subject) => (await subject.matmul(x, tensor(w.data, [depth, cols]))).data);
  });

  test("many small products", async () => {
    const [a, b] = [tensor(numbers("normal", 60 * 3 * 20, 1), [60, 3, 20]), tensor(numbers("normal", 60 * 20 * 9, 2), [60, 20, 9])];
    await expectSame("matmul", async (subject) => (await subject.matmul(a, b)).data);
  });

  describe.each<FloatType>(["f32", "f64"])("rows of %s", (dtype) => {
    test.each(byName([...SIZE_CASES, ...AXIS_CASES]))("%s", async (_, { shape, axis }) => {
      const x = numbersOf(dtype, "wide", countOf(shape));
      for (const op of OPS) await expectSame(op, async (subject) => (await call(subject, op, tensor(x, shape), { axis })).data);
      await expectSame("in place, in module memory", async (subject) => {
        const kept = await subject.keep(x);
        const view = kept.view(0, shape) as Tensor<FloatType>;
        await subject.softmax(view, { axis, out: view });
        const result = view.data.slice();
        kept.dispose();
        return result;
      });
    });

    test.each(byName(BROADCAST_CASES))("modifiers, %s", async (_, { shape, axis, operand }) => {
      const x = numbersOf(dtype, "normal", countOf(shape));
      const bias = numbersOf(dtype, "normal", countOf(operand), 2);
      const mask = maskBytes(countOf(operand));
      for (const op of OPS) {
        await expectSame(`${op} of arrays`, async (subject) => {
          const modifiers = { scale: 0.7, bias: tensor(bias, operand), mask: { data: mask, shape: operand }, safe: true };
          return (await call(subject, op, tensor(x, shape), { axis, ...modifiers })).data;
        });
        await expectSame(`${op} of module tensors`, async (subject) => {
          const kept = [await subject.keep(x), await subject.keep(bias), await subject.keep(mask)] as const;
          const modifiers = { scale: 0.7, bias: kept[1].view(0, operand), mask: kept[2].view(0, operand) as MaskLike, safe: true };
          const result = (await call(subject, op, kept[0].view(0, shape), { axis, ...modifiers })).data.slice();
          for (const store of kept) store.dispose();
          return result;
        });
      }
    });

    test.each(byName(REDUCTION_CASES))("logSumExp, %s", async (_, { shape, axes }) => {
      const x = numbersOf(dtype, "normal", countOf(shape));
      await expectSame("logSumExp", async (subject) => (await subject.logSumExp(tensor(x, shape), { axis: axes })).data);
    });

    test.each(LAYOUTS)("any layout of input and output: %s", async (layout) => {
      for (const shape of [
        [5, 7],
        [3, 5, 20],
        [2, 3, 70, 33],
      ]) {
        const x = numbersOf(dtype, "normal", countOf(shape));
        for (const axis of [0, -1]) {
          for (const home of ["array", "module"] as const) {
            await expectSame(`${shape.join("×")}, axis ${axis}, ${home}`, async (subject) => {
              const from = await place(subject, dtype, shape, { layout, home, values: x });
              const to = await place(subject, dtype, shape, { layout, home });
              await subject.softmax(from.tensor, { axis, out: to.tensor });
              const result = await to.values();
              await to.expectSentinels(subject.name);
              from.dispose();
              to.dispose();
              return result;
            });
          }
        }
      }
    });

    test("reductions of all layouts write where they should", async () => {
      for (const layout of LAYOUTS) {
        await expectSame(layout, async (subject) => {
          const to = await place(subject, dtype, reducedShape([4, 6, 50], [1]), { layout, home: "module" });
          await subject.logSumExp(tensor(numbersOf(dtype, "normal", 1200), [4, 6, 50]), { axis: 1, out: to.tensor });
          await to.expectSentinels(subject.name);
          const result = await to.values();
          to.dispose();
          return result;
        });
      }
    });
  });

  test.each(ALGORITHMS)("algorithm %s", async (algorithm) => {
    const x = numbers("wide", 40 * 1500).map((v) => v / 4);
    await expectSame(algorithm, async (subject) => (await subject.softmax(tensor(x, [40, 1500]), { algorithm })).data);
  });

  /** Output and log-sum-exp, one behind the other. */
  async function attend(subject: Subject, c: AttentionCase, options: Parameters<typeof run>[2], way?: Way): Promise<Float32Array> {
    const { out, lse } = await run(subject, operandsFor(c), options, way);
    return Float32Array.of(...out, ...lse);
  }

  describe("attention", () => {
    test.each(byName([...SINGLE_OPTIONS, ...COMBINED_OPTIONS]))("%s", async (_, { optionsFor }) => {
      for (const [i, c] of OPTION_CASES.entries()) {
        const way = WAYS[i % WAYS.length];
        await expectSame(c.name, (subject) => attend(subject, c, optionsFor(c), subject === one ? way && { ...way, home: "array" } : way));
      }
    });

    test.each(byName(DECODE_LIMIT_CASES))("where decode becomes prefill: %s", async (_, c) => {
      for (const way of WAYS) await expectSame(c.name, (subject) => attend(subject, c, { causal: true }, way));
    });

    test.each([1, 63, 1023, 1024, 1025, 1088, 2047, 2048, 2049, 3100])("decode over %d keys", async (keys) => {
      // From 1 to 8 rows, which the kernel for few rows takes by fours, twos and ones, or leaves to the other.
      const heads = 2 * ((keys % 8) + 1);
      const c = attentionCase({ batch: 2, heads, kvHeads: 2, queries: 1, keys, dim: 17, valueDim: 44 });
      const lengths = [keys, Math.ceil(keys / 2)];
      const sinks = Array.from({ length: heads }, (_, h) => h);
      for (const way of WAYS) {
        await expectSame("all keys", (subject) => attend(subject, c, {}, way));
        await expectSame("some keys", (subject) => attend(subject, c, { kvLengths: lengths, causal: true, sinks }, way));
        await expectSame("a window", (subject) => attend(subject, c, { windowSize: [700, 0] }, way));
      }
    });

    test.each([1, 64, 65, 130])("prefill of %d queries", async (queries) => {
      const c = attentionCase({ batch: 2, heads: 6, kvHeads: 2, queries, keys: 1100, dim: 24 });
      for (const way of WAYS) await expectSame("causal", (subject) => attend(subject, c, { causal: true }, way));
    });

    test("a ragged batch", async () => {
      const [queries, keys] = [
        [0, 1, 70, 5, 130],
        [9, 2100, 70, 1024, 1030],
      ];
      const starts = (lengths: readonly number[]): number[] => lengths.reduce<number[]>((sums, n) => [...sums, (sums.at(-1) ?? 0) + n], [0]);
      const [cuSeqlensQ, cuSeqlensK] = [starts(queries), starts(keys)];
      const q = tensor(numbers("normal", (cuSeqlensQ.at(-1) ?? 0) * 6 * 8), [cuSeqlensQ.at(-1) ?? 0, 6, 8]);
      const k = tensor(numbers("normal", (cuSeqlensK.at(-1) ?? 0) * 2 * 8, 2), [cuSeqlensK.at(-1) ?? 0, 2, 8]);
      const v = tensor(numbers("normal", (cuSeqlensK.at(-1) ?? 0) * 2 * 5, 3), [cuSeqlensK.at(-1) ?? 0, 2, 5]);
      for (const options of [{}, { causal: true }, { windowSize: [30, 3] as const, sinks: [1, 2, 3, 4, 5, 6] }]) {
        await expectSame("ragged", async (subject) => {
          const result = await subject.attentionVarlen(q, k, v, { ...options, cuSeqlensQ, cuSeqlensK, returnLse: true });
          if (!("lse" in result)) throw new Error("no log-sum-exp");
          return Float32Array.of(...result.out.data, ...result.lse.data);
        });
      }
    });

    test("broadcast batches and overlapping views share their copies", async () => {
      const c = attentionCase({ batch: 3, heads: 4, kvHeads: 2, queries: 3, keys: 1500, dim: 8 });
      const { q, k, v } = operandsFor(c);
      const shared = { shape: [3, 2, 1500, 8], strides: [0, 1500 * 8, 8, 1] };
      await expectSame("keys of one batch", async (subject) => {
        const result = await subject.attention(tensor(q, [3, 4, 3, 8]), { data: k, ...shared }, { data: v, ...shared });
        return result.data;
      });
    });
  });
});

test("an instance of its own gives the same as the plain functions", () => {
  // What the suite above compares with is one thread in unshared memory.
  const { memory } = createInstance();
  expect(memory.memory.buffer).toBeInstanceOf(ArrayBuffer);
});
