import { beforeAll, expect, test } from "vitest";
import type { Tensor } from "../../src/index.ts";
import { createInstance } from "../../src/testing/testing.ts";
import { type AttentionCase, attentionCase } from "../cases/attention.ts";
import { countOf } from "../reference/indices.ts";
import { operandsFor, run, shapesOf } from "../support/attention.ts";
import { words } from "../support/layouts.ts";
import { maskBytes, numbers } from "../support/numbers.ts";
import { subjectOf } from "../support/subjects.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

// An operand that ends where memory ends: a kernel that reads or writes one byte too many traps. Around an output lie sentinels.

const SENTINEL = 0x7ffda5a5;
/** Bytes of sentinels in front of an output. */
const GUARD = 4096;

/** Every number of rows up to two groups of lanes, around the block, and every number of keys in a group of four. */
const CASES: readonly AttentionCase[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 63, 64, 65, 70].map((queries) => attentionCase({ queries, keys: 67, dim: 5, valueDim: 7 })),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 61, 62, 63, 64, 65, 129, 1025].flatMap((keys) => [
    attentionCase({ queries: 1, keys, dim: 4, valueDim: 9 }),
    attentionCase({ queries: 2, keys, dim: 8 }),
    attentionCase({ queries: 66, keys, dim: 6, valueDim: 9 }),
  ]),
  ...[1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 59].flatMap((dim) => [
    attentionCase({ queries: 1, keys: 18, dim }),
    attentionCase({ queries: 3, keys: 18, dim }),
    attentionCase({ queries: 9, keys: 18, dim }),
  ]),
];

const OPERANDS = ["q", "k", "v", "out", "bias", "mask"] as const;

describeVariants("nothing outside the operands of attention is read or written", (_, variant) => {
  const instance = createInstance(variant);
  const { memory } = instance;
  /** Room for operands that do not lie at the end. */
  const room = instance.empty([1 << 17]);
  const subject = subjectOf(instance);
  let end = NaN;

  // From here on memory has what calls need, and does not grow.
  beforeAll(async () => {
    await run(subject, operandsFor(attentionCase({ queries: 70, keys: 1100, dim: 33 })), {
      bias: { values: [0], shape: [1] },
      mask: { values: [1], shape: [1] },
    });
    end = memory.byteLength;
  });

  async function check(c: AttentionCase, last: (typeof OPERANDS)[number]): Promise<void> {
    const operands = operandsFor(c);
    const scoreShape = [c.queries, c.keys];
    const shapes = { ...shapesOf(c), bias: scoreShape };
    const values = { ...operands, bias: numbers("normal", countOf(scoreShape)) };
    const mask = { values: maskBytes(countOf(scoreShape)), shape: scoreShape };
    let next = room.data.byteOffset + GUARD;
    const addressOf = (name: string, bytes: number): number => {
      if (name === last) return end - bytes;
      // One f32 off the grid: nothing more than its alignment is asked for.
      const address = next + 4;
      next = Math.ceil((address + bytes + GUARD) / 64) * 64;
      return address;
    };
    const floats = (name: keyof typeof shapes): Tensor<"f32"> => {
      const count = countOf(shapes[name]);
      const data = new Float32Array(memory.memory.buffer, addressOf(name, count * 4), count);
      if (name !== "out") data.set(values[name]);
      return { data, shape: shapes[name], dtype: "f32" };
    };
    const bytes = new Uint8Array(memory.memory.buffer, addressOf("mask", mask.values.length), mask.values.length);
    bytes.set(mask.values);
    const [q, k, v, bias, out] = [floats("q"), floats("k"), floats("v"), floats("bias"), floats("out")];
    const { byteOffset, byteLength } = out.data;
    const guards = [
      memory.u8.subarray(byteOffset - GUARD, byteOffset),
      memory.u8.subarray(byteOffset + byteLength, Math.min(end, byteOffset + byteLength + GUARD)),
    ].map(words);
    for (const guard of guards) guard.fill(SENTINEL);

    const options = { bias, mask: { data: bytes, shape: scoreShape }, softcap: 9, alibiSlopes: [0.125] };
    const { lse } = instance.attention(q, k, v, { ...options, out, returnLse: true });
    const expected = await run(subject, operands, { bias: { values: values.bias, shape: scoreShape }, mask, softcap: 9, alibiSlopes: [0.125] });
    expectSameBits(out.data, expected.out, c.name);
    expectSameBits(lse.data, expected.lse, c.name);
    expect(
      guards.every((guard) => guard.every((word) => word === SENTINEL)),
      `${c.name}: around the output`,
    ).toBe(true);
    instance.attentionScores(q, k, { ...options, stage: "masked" });
    expect(memory.byteLength, "or nothing lies at the end").toBe(end);
  }

  test.each(OPERANDS)("%s at the end of memory", async (last) => {
    for (const c of CASES) await check(c, last);
  });
});
