import type { MaskLike } from "../../src/tensor/tensor.ts";
import { describe, expect, test } from "vitest";
import { type Layout, type Tensor, tensor } from "../../src/index.ts";
import { createInstance } from "../../src/testing/testing.ts";
import { type AttentionCase, attentionCase } from "../cases/attention.ts";
import { bias, mask, slopes } from "../cases/attention-options.ts";
import type { AttentionOptions as ReferenceOptions } from "../reference/attention.ts";
import { countOf, offsetsOf, stridesOf } from "../reference/indices.ts";
import {
  type Operands,
  PLAIN,
  Placements,
  type Result,
  expectAttention,
  expectedOf,
  libraryOptions,
  operandsFor,
  run,
  shapesOf,
  swapMiddle,
  toleranceFor,
} from "../support/attention.ts";
import { byName } from "../support/by-name.ts";
import { type Layout as Arrangement, type Placed, hostHomes, layoutsIn, place, store, stridesFor } from "../support/layouts.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { type Home, type Subject, describeSubjects, subjectOf } from "../support/subjects.ts";
import { describeVariants } from "../support/variants.ts";

// Wherever operands and output lie and however they are laid out, the bits are those of the plain call (SEMANTICS 14), nothing
// that is only read changes, and nothing around the output is touched.

const CASES: readonly AttentionCase[] = [
  attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 3, keys: 70, dim: 8, valueDim: 5 }, "decode"),
  attentionCase({ batch: 2, heads: 2, queries: 66, keys: 67, dim: 40 }, "prefill"),
  attentionCase({ heads: 2, kvHeads: 1, queries: 33, keys: 1030, dim: 3, valueDim: 36 }, "prefill, two parts"),
];

const optionsFor = (c: AttentionCase): ReferenceOptions => ({
  causal: true,
  alibiSlopes: slopes(c),
  bias: bias([c.heads, c.queries, c.keys]),
  mask: mask([c.batch, 1, c.queries, c.keys]),
});

interface Place {
  readonly home: Home;
  readonly layout: Arrangement;
}

const placesOf = ({ homes }: Subject): Place[] => homes.flatMap((home) => layoutsIn(home).map((layout) => ({ home, layout })));
const HERE: Place = { home: "array", layout: "contiguous" };
const NAMES = ["q", "k", "v", "out", "bias", "mask"] as const;

/** The plain call, checked against the reference before anything is compared with it. */
async function plainResult(subject: Subject, operands: Operands, options: ReferenceOptions, label: string): Promise<Result> {
  const result = await run(subject, operands, options, PLAIN);
  expectAttention(result, expectedOf(operands, options), toleranceFor(operands, options, subject.kind), `${label}, plain`);
  return result;
}

/** Bytes in a given arrangement, off the grid where bytes may be; `place` knows floats only. */
async function placeBytes(subject: Subject, values: ArrayLike<number>, shape: readonly number[], { home, layout }: Place) {
  const strides = stridesFor(layout, shape);
  const offsets = offsetsOf(shape, strides);
  const first = home === "device" ? 4 : 1;
  const backing = new Uint8Array(first + Math.max(0, ...new Set(offsets)) + 1);
  offsets.forEach((at, i) => (backing[first + at] = values[i] ?? 0));
  const stored = await store(subject, home, backing);
  return { tensor: stored.view(first, shape, layout === "contiguous" ? undefined : strides) as MaskLike, dispose: () => stored.dispose() };
}

describeSubjects("placements of attention", (subject) => {
  const PLACES = placesOf(subject);

  /** Runs a case with some operands where `places` says, and the others in plain arrays. */
  async function check(c: AttentionCase, plain: Result, places: Partial<Record<(typeof NAMES)[number], Place>>, label: string): Promise<void> {
    const operands = operandsFor(c);
    const options = optionsFor(c);
    const shapes = { ...shapesOf(c), bias: options.bias?.shape ?? [] };
    const values = { ...operands, bias: Float32Array.from(options.bias?.values ?? []) };
    const placed = new Map<string, Placed>();
    const given = async (name: "q" | "k" | "v" | "bias" | "out"): Promise<Tensor<"f32">> => {
      const where = places[name];
      if (where === undefined) return { data: name === "out" ? new Float32Array(countOf(shapes.out)) : values[name], shape: shapes[name], dtype: "f32" };
      const made = await place(subject, "f32", shapes[name], name === "out" ? where : { ...where, values: values[name] });
      placed.set(name, made);
      return made.tensor as Tensor<"f32">;
    };
    const bytes = await placeBytes(subject, options.mask?.values ?? [], options.mask?.shape ?? [], places.mask ?? HERE);
    const call = { causal: true, alibiSlopes: slopes(c), bias: await given("bias"), mask: bytes.tensor, out: await given("out"), returnLse: true } as const;
    const result = await subject.attention(await given("q"), await given("k"), await given("v"), call);
    expect(result.out).toBe(call.out);
    const out = placed.get("out");
    expectSameBits(out === undefined ? call.out.data : await out.values(), plain.out, label);
    expectSameBits(await subject.read(result.lse), plain.lse, `${label}: log-sum-exp`);
    for (const [name, made] of placed) {
      await made.expectSentinels(`${label}: around ${name}`);
      if (name !== "out") expectSameBits(await made.values(), values[name as "q"], `${label}: ${name} itself`);
      made.dispose();
    }
    bytes.dispose();
  }

  describe.each(byName(CASES))("%s", (_, c) => {
    const plain = (): Promise<Result> => plainResult(subject, operandsFor(c), optionsFor(c), c.name);

    test.each(NAMES)("%s anywhere", async (name) => {
      const expected = await plain();
      for (const where of PLACES) await check(c, expected, { [name]: where }, `${name} ${where.home} ${where.layout}`);
    });

    test("all of them anywhere", async () => {
      const expected = await plain();
      for (const i of PLACES.keys()) {
        const places = Object.fromEntries(NAMES.map((name, n) => [name, PLACES[(i + 3 * n) % PLACES.length] ?? HERE]));
        await check(c, expected, places, JSON.stringify(places));
      }
    });

    test("output to a typed array", async () => {
      const expected = await plain();
      const operands = operandsFor(c);
      const shapes = shapesOf(c);
      const backing = new Float32Array(expected.out.length + 14).fill(-77);
      const out = backing.subarray(7, 7 + expected.out.length);
      const options = await libraryOptions(optionsFor(c), c, new Placements(subject, "array"));
      const result = await subject.attention(tensor(operands.q, shapes.q), tensor(operands.k, shapes.k), tensor(operands.v, shapes.v), { ...options, out });
      expect(result.data).toBe(out);
      expect(result.shape).toEqual(shapes.out);
      expectSameBits(out, expected.out);
      expect([...backing.subarray(0, 7), ...backing.subarray(-7)]).toEqual(new Array(14).fill(-77));
    });
  });

  describe("views", () => {
    const c = attentionCase({ batch: 2, heads: 4, kvHeads: 2, queries: 5, keys: 5, dim: 6 });
    const shapes = shapesOf(c);
    const operands = operandsFor(c);

    test("q, k and v in one packed projection", async () => {
      // [B, L, (Hq + 2 Hkv) · E], as a fused linear layer leaves it.
      const width = (c.heads + 2 * c.kvHeads) * c.dim;
      const packed = new Float32Array(c.batch * c.queries * width);
      const view = (values: Float32Array, heads: number, first: number) => {
        const strides = [c.queries * width, width, c.dim, 1];
        offsetsOf([c.batch, c.queries, heads, c.dim], strides).forEach(
          (at, i) => (packed[first * c.dim + at] = swapMiddle(values, [c.batch, heads, c.queries, c.dim])[i] ?? NaN),
        );
        return { data: packed.subarray(first * c.dim), shape: [c.batch, c.queries, heads, c.dim], strides };
      };
      const q = view(operands.q, c.heads, 0);
      const k = view(operands.k, c.kvHeads, c.heads);
      const v = view(operands.v, c.kvHeads, c.heads + c.kvHeads);
      const result = await subject.attention(q, k, v, { layout: "blhd", causal: true });
      expectSameBits(swapMiddle(result.data, [c.batch, c.queries, c.heads, c.dim]), (await run(subject, operands, { causal: true })).out);
    });

    test.each(hostHomes(subject))("the first keys of a longer cache, %s", async (home) => {
      const room = 40;
      const cache = (values: Float32Array) => {
        const shape = [c.batch, c.kvHeads, room, c.dim];
        const strides = stridesOf(shape);
        const all = new Float32Array(countOf(shape)).fill(NaN);
        offsetsOf(shapes.k, strides).forEach((at, i) => (all[at] = values[i] ?? NaN));
        return store(subject, home, all);
      };
      const [keys, values] = [await cache(operands.k), await cache(operands.v)];
      const strides = stridesOf([c.batch, c.kvHeads, room, c.dim]);
      const result = await subject.attention(tensor(operands.q, shapes.q), keys.view(0, shapes.k, strides), values.view(0, shapes.k, strides));
      expectSameBits(result.data, (await run(subject, operands)).out);
      for (const kept of [keys, values]) kept.dispose();
    });

    // A stride of 0 repeats what lies along that dimension.
    test.each([
      ["the batch", 0],
      ["the heads", 1],
      ["the rows", 2],
      ["the head dimension", 3],
    ] as const)("stride 0 along %s", async (_, d) => {
      for (const home of hostHomes(subject)) {
        for (const name of ["q", "k", "v"] as const) {
          const shape = shapes[name].map((size, i) => (i === d ? 1 : size));
          const once = operands[name].subarray(0, countOf(shape));
          const strides = stridesOf(shape).map((stride, i) => (i === d ? 0 : stride));
          const repeated = Float32Array.from(offsetsOf(shapes[name], strides), (at) => once[at] ?? NaN);
          const stored = await store(subject, home, once);
          const view = stored.view(0, shapes[name], strides);
          const given = (n: "q" | "k" | "v") => (n === name ? view : tensor(operands[n], shapes[n]));
          const result = await subject.attention(given("q"), given("k"), given("v"), { causal: true });
          expectSameBits(result.data, (await run(subject, { ...operands, [name]: repeated }, { causal: true })).out, `${name}, ${home}`);
          stored.dispose();
        }
      }
    });

    test('"dims" instead of "shape", as in ONNX Runtime', async () => {
      const of = (data: Float32Array, dims: readonly number[]) => ({ data, dims });
      expectSameBits(
        (await subject.attention(of(operands.q, shapes.q), of(operands.k, shapes.k), of(operands.v, shapes.v))).data,
        (await run(subject, operands)).out,
      );
    });
  });

  describe("fewer dimensions", () => {
    const LAYOUTS_OF_HEADS: readonly Layout[] = ["bhld", "blhd"];

    test.each(LAYOUTS_OF_HEADS)("[H, L, E], %s", async (layout) => {
      const c = attentionCase({ heads: 6, kvHeads: 2, queries: 20, keys: 70, dim: 5, valueDim: 9 });
      const operands = operandsFor(c);
      const options = optionsFor(c);
      const expected = await plainResult(subject, operands, options, c.name);
      const shapes = shapesOf(c);
      const given = (name: "q" | "k" | "v") => {
        const [, heads, length, dim] = shapes[name];
        return layout === "bhld" ? tensor(operands[name], [heads, length, dim]) : tensor(swapMiddle(operands[name], shapes[name]), [length, heads, dim]);
      };
      // Masks broadcast to [B, Hq, L, S] whatever the layout and the rank.
      const call = await libraryOptions(options, c, new Placements(subject, "array"));
      const { out, lse } = await subject.attention(given("q"), given("k"), given("v"), { ...call, layout, returnLse: true });
      expect(out.shape).toEqual(layout === "bhld" ? [6, 20, 9] : [20, 6, 9]);
      expect(lse.shape).toEqual([6, 20]);
      expectSameBits(layout === "bhld" ? out.data : swapMiddle(out.data, [1, 20, 6, 9]), expected.out);
      expectSameBits(lse.data, expected.lse);
    });

    test.each(LAYOUTS_OF_HEADS)("[L, E], %s", async (layout) => {
      const c = attentionCase({ queries: 70, keys: 66, dim: 5, valueDim: 9 });
      const operands = operandsFor(c);
      const expected = await plainResult(subject, operands, optionsFor(c), c.name);
      const call = await libraryOptions(optionsFor(c), c, new Placements(subject, "array"));
      const { out, lse } = await subject.attention(tensor(operands.q, [70, 5]), tensor(operands.k, [66, 5]), tensor(operands.v, [66, 9]), {
        ...call,
        layout,
        returnLse: true,
      });
      expect(out.shape).toEqual([70, 9]);
      expect(lse.shape).toEqual([70]);
      expectSameBits(out.data, expected.out);
      expectSameBits(lse.data, expected.lse);
    });
  });
});

describeVariants("module memory that grows in the middle of a call", (_, variant) => {
  // A head of plain keys larger than the scratch that is there from the start: taking room for it detaches every view.
  const c = attentionCase({ queries: 4, keys: 4100, dim: 64 });
  const options: ReferenceOptions = { bias: bias([c.queries, c.keys]), mask: mask([c.queries, c.keys]) };

  test.each([["q"], ["v"], ["bias"], ["mask"], ["out"], ["q", "v", "bias", "mask", "out"]].map((names) => [names.join(), names] as const))(
    "%s in it",
    async (_, inModule) => {
      for (const layout of ["contiguous", "element gaps"] as const) {
        const expected = await run(subjectOf(createInstance(variant)), operandsFor(c), options);
        const instance = createInstance(variant);
        const subject = subjectOf(instance);
        const operands = operandsFor(c);
        const shapes = shapesOf(c);
        const home = (name: string): Home => (inModule.includes(name) ? "module" : "array");
        const placed = await Promise.all(
          (["q", "k", "v"] as const).map((name) => place(subject, "f32", shapes[name], { home: home(name), layout, values: operands[name] })),
        );
        const bytes = await new Placements(subject, home("mask")).bytes(options.mask?.values ?? [], options.mask?.shape ?? []);
        const placedBias = (await place(subject, "f32", options.bias?.shape ?? [], { home: home("bias"), layout, values: options.bias?.values ?? [] })).tensor;
        const out = await place(subject, "f32", shapes.out, { home: home("out"), layout });
        const before = instance.memory.byteLength;
        const [q, k, v] = placed.map((p) => p.tensor);
        const { lse } = await subject.attention(q as never, k as never, v as never, { bias: placedBias, mask: bytes, out: out.tensor, returnLse: true });
        expect(instance.memory.byteLength, "or this tests nothing").toBeGreaterThan(before);
        expectSameBits(await out.values(), expected.out, layout);
        expectSameBits(lse.data, expected.lse, layout);
        await out.expectSentinels(layout);
      }
    },
  );
});
