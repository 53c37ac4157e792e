import { describe, expect, test } from "vitest";
import { type Layout, type Tensor, tensor } from "../../src/index.ts";
import { type Instance, createInstance } from "../../src/testing.ts";
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
import { HOMES, LAYOUTS, type Home, type Layout as Arrangement, type Placed, place, readTensor, stridesFor } from "../support/layouts.ts";
import { expectSameBits } from "../support/tolerances.ts";
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

const PLACES: readonly Place[] = HOMES.flatMap((home) => LAYOUTS.map((layout) => ({ home, layout })));
const HERE: Place = { home: "array", layout: "contiguous" };
const NAMES = ["q", "k", "v", "out", "bias", "mask"] as const;

/** The plain call, checked against the reference before anything is compared with it. */
function plainResult(instance: Instance, operands: Operands, options: ReferenceOptions, label: string): Result {
  const result = run(instance, operands, options, PLAIN);
  expectAttention(result, expectedOf(operands, options), toleranceFor(operands, options), `${label}, plain`);
  return result;
}

/** Bytes in a given arrangement; `place` knows floats only. */
function placeBytes(instance: Instance, values: ArrayLike<number>, shape: readonly number[], { home, layout }: Place) {
  const strides = stridesFor(layout, shape);
  const offsets = offsetsOf(shape, strides);
  const extent = Math.max(0, ...new Set(offsets)) + 1;
  const backing = instance.empty([Math.ceil(extent / 4) + 1]);
  const own = new Uint8Array(extent);
  const data = (): Uint8Array => (home === "module" ? new Uint8Array(backing.data.buffer, backing.data.byteOffset + 1, extent) : own);
  const target = data();
  offsets.forEach((at, i) => (target[at] = values[i] ?? 0));
  const tensor = {
    get data() {
      return data();
    },
    shape,
    strides,
  };
  return { tensor, dispose: () => backing.dispose() };
}

describeVariants("placements of attention", (instance) => {
  /** Runs a case with some operands where `places` says, and the others in plain arrays. */
  function check(c: AttentionCase, plain: Result, places: Partial<Record<(typeof NAMES)[number], Place>>, label: string): void {
    const operands = operandsFor(c);
    const options = optionsFor(c);
    const shapes = { ...shapesOf(c), bias: options.bias?.shape ?? [] };
    const values = { ...operands, bias: Float32Array.from(options.bias?.values ?? []) };
    const placed = new Map<string, Placed>();
    const given = (name: "q" | "k" | "v" | "bias" | "out"): Tensor<"f32"> => {
      const where = places[name];
      if (where === undefined) return { data: name === "out" ? new Float32Array(countOf(shapes.out)) : values[name], shape: shapes[name], dtype: "f32" };
      const made = place(instance, "f32", shapes[name], name === "out" ? where : { ...where, values: values[name] });
      placed.set(name, made);
      return made.tensor as Tensor<"f32">;
    };
    const bytes = placeBytes(instance, options.mask?.values ?? [], options.mask?.shape ?? [], places.mask ?? HERE);
    const call = { causal: true, alibiSlopes: slopes(c), bias: given("bias"), mask: bytes.tensor, out: given("out"), returnLse: true } as const;
    const result = instance.attention(given("q"), given("k"), given("v"), call);
    expect(result.out).toBe(call.out);
    expectSameBits(readTensor(call.out), plain.out, label);
    expectSameBits(result.lse.data, plain.lse, `${label}: log-sum-exp`);
    for (const [name, made] of placed) {
      made.expectSentinels(`${label}: around ${name}`);
      if (name !== "out") expectSameBits(made.values(), values[name as "q"], `${label}: ${name} itself`);
      made.dispose();
    }
    bytes.dispose();
  }

  describe.each(byName(CASES))("%s", (_, c) => {
    const plain = (): Result => plainResult(instance, operandsFor(c), optionsFor(c), c.name);

    test.each(NAMES)("%s anywhere", (name) => {
      const expected = plain();
      for (const where of PLACES) check(c, expected, { [name]: where }, `${name} ${where.home} ${where.layout}`);
    });

    test("all of them anywhere", () => {
      const expected = plain();
      PLACES.forEach((_, i) => {
        const places = Object.fromEntries(NAMES.map((name, n) => [name, PLACES[(i + 3 * n) % PLACES.length] ?? HERE]));
        check(c, expected, places, JSON.stringify(places));
      });
    });

    test("output to a typed array", () => {
      const expected = plain();
      const operands = operandsFor(c);
      const shapes = shapesOf(c);
      const backing = new Float32Array(expected.out.length + 14).fill(-77);
      const out = backing.subarray(7, 7 + expected.out.length);
      const options = libraryOptions(optionsFor(c), c, new Placements(instance, "array"));
      const result = instance.attention(tensor(operands.q, shapes.q), tensor(operands.k, shapes.k), tensor(operands.v, shapes.v), { ...options, out });
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

    test("q, k and v in one packed projection", () => {
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
      const result = instance.attention(q, k, v, { layout: "blhd", causal: true });
      expectSameBits(swapMiddle(result.data, [c.batch, c.queries, c.heads, c.dim]), run(instance, operands, { causal: true }).out);
    });

    test.each(HOMES)("the first keys of a longer cache, %s", (home) => {
      const room = 40;
      const placements = new Placements(instance, home);
      const cache = (values: Float32Array) => {
        const all = placements.empty([c.batch, c.kvHeads, room, c.dim]);
        const strides = stridesOf(all.shape);
        offsetsOf(shapes.k, strides).forEach((at, i) => (all.data[at] = values[i] ?? NaN));
        return {
          get data() {
            return all.data;
          },
          shape: shapes.k,
          strides,
        };
      };
      const result = instance.attention(tensor(operands.q, shapes.q), cache(operands.k), cache(operands.v));
      expectSameBits(result.data, run(instance, operands).out);
      placements.dispose();
    });

    // A stride of 0 repeats what lies along that dimension.
    test.each([
      ["the batch", 0],
      ["the heads", 1],
      ["the rows", 2],
      ["the head dimension", 3],
    ] as const)("stride 0 along %s", (_, d) => {
      for (const home of HOMES) {
        for (const name of ["q", "k", "v"] as const) {
          const placements = new Placements(instance, home);
          const shape = shapes[name].map((size, i) => (i === d ? 1 : size));
          const once = operands[name].subarray(0, countOf(shape));
          const strides = stridesOf(shape).map((stride, i) => (i === d ? 0 : stride));
          const repeated = Float32Array.from(offsetsOf(shapes[name], strides), (at) => once[at] ?? NaN);
          const view = { data: placements.floats(once, shape).data, shape: shapes[name], strides };
          const given = (n: "q" | "k" | "v") => (n === name ? view : tensor(operands[n], shapes[n]));
          const result = instance.attention(given("q"), given("k"), given("v"), { causal: true });
          expectSameBits(result.data, run(instance, { ...operands, [name]: repeated }, { causal: true }).out, `${name}, ${home}`);
          placements.dispose();
        }
      }
    });

    test('"dims" instead of "shape", as in ONNX Runtime', () => {
      const of = (data: Float32Array, dims: readonly number[]) => ({ data, dims });
      expectSameBits(instance.attention(of(operands.q, shapes.q), of(operands.k, shapes.k), of(operands.v, shapes.v)).data, run(instance, operands).out);
    });
  });

  describe("fewer dimensions", () => {
    const LAYOUTS_OF_HEADS: readonly Layout[] = ["bhld", "blhd"];

    test.each(LAYOUTS_OF_HEADS)("[H, L, E], %s", (layout) => {
      const c = attentionCase({ heads: 6, kvHeads: 2, queries: 20, keys: 70, dim: 5, valueDim: 9 });
      const operands = operandsFor(c);
      const options = optionsFor(c);
      const expected = plainResult(instance, operands, options, c.name);
      const shapes = shapesOf(c);
      const given = (name: "q" | "k" | "v") => {
        const [, heads, length, dim] = shapes[name];
        return layout === "bhld" ? tensor(operands[name], [heads, length, dim]) : tensor(swapMiddle(operands[name], shapes[name]), [length, heads, dim]);
      };
      // Masks broadcast to [B, Hq, L, S] whatever the layout and the rank.
      const call = libraryOptions(options, c, new Placements(instance, "array"));
      const { out, lse } = instance.attention(given("q"), given("k"), given("v"), { ...call, layout, returnLse: true });
      expect(out.shape).toEqual(layout === "bhld" ? [6, 20, 9] : [20, 6, 9]);
      expect(lse.shape).toEqual([6, 20]);
      expectSameBits(layout === "bhld" ? out.data : swapMiddle(out.data, [1, 20, 6, 9]), expected.out);
      expectSameBits(lse.data, expected.lse);
    });

    test.each(LAYOUTS_OF_HEADS)("[L, E], %s", (layout) => {
      const c = attentionCase({ queries: 70, keys: 66, dim: 5, valueDim: 9 });
      const operands = operandsFor(c);
      const expected = plainResult(instance, operands, optionsFor(c), c.name);
      const call = libraryOptions(optionsFor(c), c, new Placements(instance, "array"));
      const { out, lse } = instance.attention(tensor(operands.q, [70, 5]), tensor(operands.k, [66, 5]), tensor(operands.v, [66, 9]), {
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
    (_, inModule) => {
      for (const layout of ["contiguous", "element gaps"] as const) {
        const expected = run(createInstance(variant), operandsFor(c), options);
        const instance = createInstance(variant);
        const operands = operandsFor(c);
        const shapes = shapesOf(c);
        const home = (name: string): Home => (inModule.includes(name) ? "module" : "array");
        const placed = (["q", "k", "v"] as const).map(
          (name) => place(instance, "f32", shapes[name], { home: home(name), layout, values: operands[name] }).tensor,
        );
        const bytes = new Placements(instance, home("mask")).bytes(options.mask?.values ?? [], options.mask?.shape ?? []);
        const placedBias = place(instance, "f32", options.bias?.shape ?? [], { home: home("bias"), layout, values: options.bias?.values ?? [] }).tensor;
        const out = place(instance, "f32", shapes.out, { home: home("out"), layout });
        const before = instance.memory.byteLength;
        const [q, k, v] = placed;
        const { lse } = instance.attention(q as never, k as never, v as never, { bias: placedBias, mask: bytes, out: out.tensor, returnLse: true });
        expect(instance.memory.byteLength, "or this tests nothing").toBeGreaterThan(before);
        expectSameBits(readTensor(out.tensor), expected.out, layout);
        expectSameBits(lse.data, expected.lse, layout);
        out.expectSentinels(layout);
      }
    },
  );
});
