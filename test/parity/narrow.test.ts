import { describe, expect, test } from "vitest";
import { convert, quantize, tensor, type QuantizedTensor, type Tensor, type TensorLike } from "../../src/index.ts";
import { contiguousStrides } from "../../src/tensor/shape.ts";
import { attentionCase } from "../cases/attention.ts";
import { countOf } from "../reference/indices.ts";
import { operandsFor, shapesOf } from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { fromHalf, toHalf } from "../support/half.ts";
import { numbers } from "../support/numbers.ts";
import { OPS, call } from "../support/operands.ts";
import { type Subject, describeSubjects } from "../support/subjects.ts";
import { expectSameBits } from "../support/tolerances.ts";

// Narrow storage on the CPU (SEMANTICS, "Storage"): a call gives the bits of the same call on the numbers converted to f32, and a narrow
// `out` those of its result, rounded.

const STORAGES = ["f16", "bf16", "i8"] as const;
type Storage = (typeof STORAGES)[number];

function narrow(x: Tensor<"f32">, storage: Storage): Tensor<"f16" | "bf16"> | QuantizedTensor {
  return storage === "i8" ? quantize(x) : convert(x, storage);
}

/** The same numbers in f32. */
const widened = (x: TensorLike): Tensor<"f32"> => convert(x, "f32");

/** A copy of a tensor in the subject's memory. */
async function inModule(subject: Subject, x: Tensor | QuantizedTensor): Promise<{ readonly x: TensorLike; dispose(): void }> {
  // A store holds bytes, whatever they stand for.
  const { data } = x;
  const kept = await subject.keep(new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice());
  const bytes = kept.view(0, [data.byteLength]);
  const View = data.constructor as new (buffer: ArrayBufferLike, byteOffset: number, length: number) => Int8Array;
  return {
    x: {
      ...x,
      get data() {
        const { buffer, byteOffset } = (bytes as unknown as { data: Uint8Array }).data;
        return new View(buffer, byteOffset, data.length);
      },
    },
    dispose: () => kept.dispose(),
  };
}

const SHAPES: readonly (readonly [name: string, shape: readonly number[], axis: number])[] = [
  ["one", [1], 0],
  ["a tail", [3, 7], -1],
  ["rows longer than a block", [3, 1100], -1],
  ["rows across memory", [5, 70, 33], 1],
  ["columns", [130, 70], 0],
  ["more than a stage", [300, 700], -1],
];

describe("converting", () => {
  test("f16 and bf16 there and back, strided too", () => {
    const x = tensor(numbers("normal", 100_000), [2, 125, 400]);
    const half = convert(x, "f16");
    expect(half).toMatchObject({ shape: [2, 125, 400], dtype: "f16" });
    expect(Array.from(half.data)).toEqual(Array.from(x.data, toHalf));
    expectSameBits(convert(half, "f32").data, Float32Array.from(half.data, fromHalf));
    const across = { data: half.data, shape: [400, 125], strides: [1, 400], dtype: "f16" };
    const expected = Float32Array.from({ length: 50_000 }, (_, i) => fromHalf(half.data[Math.floor(i / 125) + (i % 125) * 400] ?? 0));
    expectSameBits(convert(across, "f32").data, expected);
    expect(convert(tensor(new Float32Array([2 ** 20, NaN, -1e-9]), [3]), "f16").data).toEqual(new Uint16Array([0x7c00, 0x7e00, 0x8000]));
    expect(convert(tensor(new Float32Array(0), [0, 3]), "bf16").shape).toEqual([0, 3]);
    expect(convert({ data: new Float32Array([1]), shape: [] }, "bf16").data).toEqual(new Uint16Array([0x3f80]));
  });

  test("i8 is within half a step, and its scale is max|row| / 127", () => {
    const x = tensor(numbers("normal", 6 * 50), [2, 3, 50]);
    const q = quantize(x);
    expect(q.scales.length).toBe(6);
    const back = convert(q, "f32").data;
    q.scales.forEach((scale, r) => {
      const row = x.data.subarray(r * 50, (r + 1) * 50);
      expect(scale).toBe(Math.fround(Math.max(...row.map(Math.abs)) / 127));
      row.forEach((value, c) => expect(Math.abs((back[r * 50 + c] ?? NaN) - value)).toBeLessThanOrEqual(scale * 0.5001));
    });
  });
});

describeSubjects("narrow operands", (subject) => {
  describe.each(OPS)("%s", (op) => {
    test.each(SHAPES)("%s", async (_, shape, axis) => {
      for (const storage of STORAGES) {
        const x = narrow(tensor(numbers("normal", countOf(shape)), shape), storage);
        const wide = widened(x);
        const expected = (await call(subject, op, wide, { axis })).data;
        const kept = await inModule(subject, x);
        for (const [place, given] of [["array", x], ["module", kept.x]] as const) expectSameBits((await call(subject, op, given, { axis })).data, expected, `${storage}, ${place}`); // prettier-ignore
        kept.dispose();
      }
    });

    test("views, bias and out", async () => {
      const shape = [12, 40];
      const x = tensor(numbers("normal", 12 * 40), shape);
      for (const storage of ["f16", "bf16"] as const) {
        const half = convert(x, storage);
        const bias = convert(tensor(numbers("holes", 40), [40]), storage);
        const view = (t: Tensor) => ({ ...t, data: t.data.subarray(3) as never, shape: [11, 20], strides: [40, 2] });
        const options = { bias: { ...bias, shape: [20], strides: [2] } as TensorLike, scale: 0.5 };
        const expected = await call(subject, op, view(widened(half)), { ...options, bias: view20(widened(bias)) });
        for (const to of ["f16", "bf16"] as const) {
          const out = { data: new Uint16Array(countOf(expected.shape)), shape: expected.shape, dtype: to };
          expect(await call(subject, op, view(half), { ...options, out })).toBe(out);
          expect(out.data, `${storage} to ${to}`).toEqual(convert(expected, to).data);
        }
      }
    });

    test("in place", async () => {
      if (op === "logSumExp") return;
      const x = convert(tensor(numbers("normal", 3 * 41), [3, 41]), "f16");
      const expected = convert(await call(subject, op, x, {}), "f16").data;
      await call(subject, op, x, { out: x });
      expect(x.data).toEqual(expected);
    });
  });

  const CASES = [
    attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 1, keys: 130, dim: 8, valueDim: 5 }, "decode"),
    attentionCase({ batch: 1, heads: 2, kvHeads: 2, queries: 70, keys: 131, dim: 16 }, "prefill"),
    attentionCase({ batch: 1, heads: 2, kvHeads: 1, queries: 2, keys: 1100, dim: 4 }, "two chunks"),
  ];

  describe.each(byName(CASES))("attention, %s", (_, sizes) => {
    const shapes = shapesOf(sizes);
    const { q, k, v } = operandsFor(sizes);
    const [qt, kt, vt] = [tensor(q, shapes.q), tensor(k, shapes.k), tensor(v, shapes.v)];

    test.each([
      ["f16", "f16", "f16"],
      ["bf16", "bf16", "bf16"],
      ["i8", "i8", "i8"],
      ["f32", "bf16", "i8"],
      ["i8", "f32", "f16"],
    ] as const)("%s, %s, %s", async (...storages) => {
      const [a, b, c] = [qt, kt, vt].map((x, i) => {
        const storage = storages[i] ?? "f32";
        return storage === "f32" ? x : narrow(x, storage);
      }) as [Tensor, Tensor, Tensor];
      const bias = convert(tensor(numbers("normal", sizes.keys), [sizes.keys]), "f16");
      const expected = await subject.attention(widened(a), widened(b), widened(c), { causal: true, bias: widened(bias), returnLse: true });
      const kept = await Promise.all([a, b, c].map((x) => inModule(subject, x)));
      const [am, bm, cm] = kept.map(({ x }) => x) as [TensorLike, TensorLike, TensorLike];
      for (const [place, x, y, z] of [
        ["arrays", a, b, c],
        ["module", am, bm, cm],
      ] as const) {
        const actual = await subject.attention(x, y, z, { causal: true, bias, returnLse: true });
        expectSameBits(actual.out.data, expected.out.data, place);
        expectSameBits(actual.lse.data, expected.lse.data, place);
        for (const to of ["f16", "bf16"] as const) {
          const out = { data: new Uint16Array(countOf(shapes.out)), shape: shapes.out, dtype: to };
          await subject.attention(x, y, z, { causal: true, bias, out });
          expect(out.data, `${place} to ${to}`).toEqual(convert(expected.out, to).data);
        }
      }
      for (const one of kept) one.dispose();
    });

    test("heads behind length, and scores", async () => {
      const swap = (x: Tensor) => ({ data: x.data, dtype: x.dtype, shape: [0, 2, 1, 3].map((d) => x.shape[d] ?? 0), strides: [0, 2, 1, 3].map((d) => contiguousStrides(x.shape)[d] ?? 0) }); // prettier-ignore
      const [a, b, c] = [qt, kt, vt].map((x) => convert(x, "f16")) as [Tensor, Tensor, Tensor];
      const expected = await subject.attention(swap(widened(a)), swap(widened(b)), swap(widened(c)), { layout: "blhd" });
      expectSameBits((await subject.attention(swap(a), swap(b), swap(c), { layout: "blhd" })).data, expected.data);
      expectSameBits((await subject.attentionScores(a, quantize(kt))).data, (await subject.attentionScores(widened(a), widened(quantize(kt)))).data);
    });
  });

  test("merging states", async () => {
    const parts = [1, 2].map((seed) => ({
      out: convert(tensor(numbers("normal", 24, seed), [2, 3, 4]), "f16"),
      lse: convert(tensor(numbers("normal", 6, seed), [2, 3]), "bf16"),
    }));
    const expected = await subject.mergeStates(parts.map(({ out, lse }) => ({ out: widened(out), lse: widened(lse) })));
    const actual = await subject.mergeStates(parts);
    expectSameBits(actual.out.data, expected.out.data);
    expectSameBits(actual.lse.data, expected.lse.data);
  });
});

describeSubjects("narrow logits and matrices", (subject) => {
  test.each(STORAGES)("logits in %s", async (storage) => {
    const logits = narrow(tensor(numbers("normal", 5 * 1500), [5, 1500]), storage);
    const kept = await inModule(subject, logits);
    const wide = widened(logits);
    const targets = Int32Array.of(0, 3, 1499, 7, 700);
    const [k, p, tokens, loss] = [
      await subject.topK(wide, 9),
      await subject.topKSoftmax(wide, 9),
      await subject.sample(wide, { topP: 0.9, seed: 5 }),
      await subject.crossEntropy(wide, targets, { returnGrad: true }),
    ];
    for (const x of [logits, kept.x]) {
      expect(await subject.topK(x, 9)).toEqual(k);
      expect(await subject.topKSoftmax(x, 9)).toEqual(p);
      expect(await subject.sample(x, { topP: 0.9, seed: 5 })).toEqual(tokens);
      expect(await subject.crossEntropy(x, targets, { returnGrad: true })).toEqual(loss);
    }
    kept.dispose();
  });

  test.each(STORAGES)("matrices in %s, and out in 16 bits", async (storage) => {
    const [x, weight, bias] = [
      tensor(numbers("normal", 7 * 530, 1), [7, 530]),
      narrow(tensor(numbers("normal", 40 * 530, 2), [40, 530]), storage),
      convert(tensor(numbers("normal", 40, 3), [40]), "bf16"),
    ];
    const kept = await inModule(subject, weight);
    const expected = await subject.linear(x, widened(weight), { bias: widened(bias) });
    for (const w of [weight, kept.x]) expectSameBits((await subject.linear(x, w, { bias })).data, expected.data);
    const out = { data: new Uint16Array(7 * 40), shape: [7, 40], dtype: "f16" };
    await subject.linear(x, weight, { bias, out });
    expect(out.data).toEqual(convert(expected, "f16").data);
    const [a, b] = [narrow(tensor(numbers("normal", 9 * 70, 4), [9, 70]), storage), narrow(tensor(numbers("normal", 70 * 80, 5), [70, 80]), storage)];
    expectSameBits((await subject.matmul(a, b)).data, (await subject.matmul(widened(a), widened(b))).data, "matmul");
    kept.dispose();
  });
});

const view20 = (bias: Tensor<"f32">): TensorLike => ({ ...bias, shape: [20], strides: [2] });
