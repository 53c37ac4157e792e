import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type AttentionResultWithLse, parseAttention } from "../../src/ops/attention.ts";
import type { AttentionCall } from "../../src/calls/attention-call.ts";
import { CHUNK_KEYS } from "../../src/calls/blocks.ts";
import type { DeviceTraits } from "../../src/backend/webgpu/device/traits.ts";
import { Recorder } from "../../src/backend/webgpu/recorder/recorder.ts";
import { TooLargeError } from "../../src/errors/errors.ts";
import { type AttentionCase, attentionCase } from "../cases/attention.ts";
import { COMBINED_OPTIONS, type OptionCase, SINGLE_OPTIONS, sinks } from "../cases/attention-options.ts";
import type { AttentionOptions } from "../reference/attention.ts";
import { type Operands, expectAttention, expectedOf, operandsFor, run, shapesOf, toleranceFor } from "../support/attention.ts";
import { type Gpu, attentionSubject, compute, openGpu, runCall } from "../support/attention-webgpu.ts";
import { byName } from "../support/by-name.ts";
import { HALF_FORMS, halved } from "../support/half.ts";
import type { Subject } from "../support/subjects.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { unavailable } from "../support/variants.ts";
import { recordAttention } from "../../src/backend/webgpu/plans/attention.ts";
import { recordMerge } from "../../src/backend/webgpu/plans/merge.ts";
import { parseMergeStates } from "../../src/ops/merge-states.ts";
import { elementCount } from "../../src/tensor/shape.ts";
import { someGpu } from "./toy.ts";

// What the suites over engines do not reach: kernels of devices that grant less, f16 in both ways, calls in several dispatches,
// operands at offsets. Options, sizes and special cases are theirs; here they are sampled.

/** The kernels that there are, as traits that choose them. */
const VARIANTS: readonly { readonly name: string; readonly traits: Partial<DeviceTraits> }[] = [
  { name: "16 KiB, no features", traits: { workgroupStorage: 16384, subgroups: undefined, f16: false } },
  { name: "32 KiB, no features", traits: { subgroups: undefined, f16: false } },
  { name: "all that the device has", traits: {} },
];

const SAMPLED: readonly AttentionCase[] = [
  attentionCase({ batch: 2, heads: 6, kvHeads: 2, queries: 5, keys: 300, dim: 20, valueDim: 12 }, "decode, three chunks"),
  attentionCase({ batch: 2, heads: 6, kvHeads: 2, queries: 65, keys: 129, dim: 12, valueDim: 20 }, "prefill, two blocks"),
];

/** Sizes around 4 rows and keys, 16 lanes, tiles of 32 and 64, a slice of 128 columns and what is staged. */
const EDGES = [1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129] as const;

const found = await someGpu();

if (typeof found === "string") test("attention on a GPU", ({ skip }) => unavailable(skip, found));
else suite(found);

function suite(adapterOf: GPU): void {
  let gpu: Gpu;

  beforeAll(async () => {
    gpu = await openGpu(adapterOf);
  });

  afterAll(() => gpu.device.destroy());

  const on = (traits: Partial<DeviceTraits> = {}): Subject => attentionSubject(gpu, traits);

  async function check(subject: Subject, c: AttentionCase, options: AttentionOptions, label = c.name): Promise<void> {
    const operands = operandsFor(c);
    expectAttention(await run(subject, operands, options), expectedOf(operands, options), toleranceFor(operands, options, "webgpu"), label);
  }

  describe.each(byName(VARIANTS))("%s", (_, { traits }) => {
    // Every third option, and all that meet in one score.
    const options: readonly OptionCase[] = [...SINGLE_OPTIONS.filter((_, i) => i % 3 === 0), ...COMBINED_OPTIONS];

    test.each(byName(SAMPLED))("%s", async (_, c) => {
      for (const { name, optionsFor } of options) await check(on(traits), c, optionsFor(c), `${c.name}, ${name}`);
    });

    test.each(EDGES)("%i queries, and all numbers of keys", async (queries) => {
      for (const keys of EDGES) await check(on(traits), attentionCase({ queries, keys, dim: 4, valueDim: 5 }), { causal: true });
    });

    test.each(EDGES)("%i dimensions, and as many value columns or 130", async (dim) => {
      for (const queries of [3, 66]) {
        for (const valueDim of [dim, 130]) await check(on(traits), attentionCase({ heads: 2, kvHeads: 1, queries: queries, keys: 70, dim, valueDim }), {});
      }
    });

    test.each([
      [256, 256],
      [576, 512],
      [1024, 1024],
    ])("%i dimensions to %i columns", async (dim, valueDim) => {
      for (const queries of [2, 66]) await check(on(traits), attentionCase({ queries, keys: 67, dim, valueDim }), { causal: true });
    });
  });

  describe("f16", () => {
    const options: readonly OptionCase[] = COMBINED_OPTIONS.filter(({ name }) => name.startsWith("everything"));
    // Odd dimensions put the rows of every other key in the middle of a pair.
    const cases = [
      ...SAMPLED,
      attentionCase({ heads: 2, queries: 3, keys: 150, dim: 7, valueDim: 5 }, "odd"),
      attentionCase({ queries: 70, keys: 70, dim: 33, valueDim: 65 }, "odd"),
    ];

    test("shader-f16", async ({ skip }) => {
      if (gpu.traits.f16) await checkHalves(true);
      else unavailable(skip, "this GPU has no shader-f16");
    });

    test("unpacked from pairs", async () => await checkHalves(false));

    test.each(HALF_FORMS)("columns of a matrix, as %s", async (_, form) => {
      const c = attentionCase({ batch: 2, heads: 2, kvHeads: 1, queries: 5, keys: 40, dim: 6, valueDim: 4 });
      const operands = halves(operandsFor(c));
      const shapes = shapesOf(c);
      /** [B, H, L, E] with E outside of L. */
      const turned = (values: Float32Array, shape: readonly [number, number, number, number]) => {
        const [, h, l, e] = shape;
        const data = new Float32Array(values.length);
        values.forEach((x, i) => (data[Math.floor(i / (l * e)) * l * e + (i % e) * l + (Math.floor(i / e) % l)] = x));
        return { data: form(halved(data).bits), shape, dtype: "f16", strides: [h * l * e, l * e, 1, l] };
      };
      const call = parseAttention(turned(operands.q, shapes.q), turned(operands.k, shapes.k), turned(operands.v, shapes.v), { returnLse: true });
      const { out, lse } = await runWithLse(gpu, call);
      expectAttention({ out: out.data, lse: lse.data }, expectedOf(operands, {}), toleranceFor(operands, {}, "webgpu"), c.name);
    });

    async function checkHalves(f16: boolean): Promise<void> {
      for (const c of cases) {
        const operands = halves(operandsFor(c));
        const shapes = shapesOf(c);
        for (const { name, optionsFor } of [{ name: "no option", optionsFor: () => ({}) }, ...options]) {
          const reference = optionsFor(c);
          const subject = on({ f16 });
          const packed = {
            ...subject,
            attention: (q: { data: Float32Array }, k: { data: Float32Array }, v: { data: Float32Array }, o: object) =>
              subject.attention(half(q.data, shapes.q), half(k.data, shapes.k), half(v.data, shapes.v), { ...o, returnLse: true }),
          };
          const actual = await run(packed as never, operands, reference);
          expectAttention(actual, expectedOf(operands, reference), toleranceFor(operands, reference, "webgpu"), `${c.name}, ${name}`);
        }
      }
    }
  });

  describe("in several dispatches", () => {
    const c = attentionCase({ batch: 3, heads: 4, kvHeads: 2, queries: 70, keys: 150, dim: 16, valueDim: 24 });
    const d = attentionCase({ batch: 3, heads: 4, kvHeads: 2, queries: 5, keys: 300, dim: 16, valueDim: 24 });
    const everything = COMBINED_OPTIONS.filter(({ name }) => name.startsWith("everything") || name.startsWith("blockMask"));

    const e = attentionCase({ batch: 2, heads: 2, kvHeads: 1, queries: 200, keys: 150, dim: 16, valueDim: 24 });

    // Bytes that hold all operands of a batch, of a head, and of some blocks of its rows: the largest are the biases of prefill and the
    // values of decode.
    test.each([
      [c.name, c, 200000, 45000],
      [d.name, d, 60000, 30000],
      [e.name, e, 90000, 39000],
    ])("a call that no binding holds has the bits of one that does, %s", async (_, sizes, ...limits) => {
      const operands = operandsFor(sizes);
      for (const { name, optionsFor } of [{ name: "no option", optionsFor: () => ({}) }, ...everything]) {
        const whole = await run(on(), operands, optionsFor(sizes));
        for (const bindingBytes of limits) {
          const parts = await run(on({ bindingBytes }), operands, optionsFor(sizes));
          expectSameBits(parts.out, whole.out, `${name}, ${bindingBytes} bytes`);
          expectSameBits(parts.lse, whole.lse, `${name}, ${bindingBytes} bytes`);
        }
        // Nor what is more than one submission computes.
        const parts = await run(on({ submissionFlops: 2 ** 19 }), operands, optionsFor(sizes));
        expectSameBits(parts.out, whole.out, `${name}, in submissions`);
        expectSameBits(parts.lse, whole.lse, `${name}, in submissions`);
      }
    });

    test.each([
      [c.name, c, 60000],
      [e.name, e, 39000],
    ])("scores are cut likewise, %s", async (_, sizes, bindingBytes) => {
      const { q, k } = operandsFor(sizes);
      const shapes = shapesOf(sizes);
      const options = { causal: true, kvLengths: new Array<number>(sizes.batch).fill(120), qLengths: new Array<number>(sizes.batch).fill(sizes.queries - 5) };
      const scores = async (traits: Partial<DeviceTraits>) =>
        (await on(traits).attentionScores({ data: q, shape: shapes.q }, { data: k, shape: shapes.k }, options)).data;
      expectSameBits(await scores({ bindingBytes }), await scores({}));
    });

    test("a prefill that computes a lot is several submissions", async () => {
      const sizes = attentionCase({ queries: 512, keys: 512, dim: 16, valueDim: 16 });
      const { q, k, v } = operandsFor(sizes);
      const shapes = shapesOf(sizes);
      const call = parseAttention({ data: q, shape: shapes.q }, { data: k, shape: shapes.k }, { data: v, shape: shapes.v });
      const flops = 2 * 512 * 512 * 32;
      for (const [submissionFlops, submissions] of [
        [flops, 1],
        [flops / 2, 2],
        // A block of 64 rows is not cut.
        [1, 8],
      ] as const) {
        await compute({ ...gpu, traits: { ...gpu.traits, submissionFlops } }, [elementCount(call.results.out.shape)], (recorder, [out]) => {
          if (out !== undefined) recordAttention(recorder, call, { out });
          expect(recorder.submissions).toHaveLength(submissions);
        });
      }
    });

    test("the states of chunks share their memory, and what takes much of it is cut", () => {
      // 33 chunks of 8 heads and 8 rows with 1024 columns, 9 MB for each of 12 sequences.
      const sizes = attentionCase({ batch: 12, heads: 8, kvHeads: 1, queries: 8, keys: 4200, dim: 4, valueDim: 1024 });
      const { q, k, v } = operandsFor(sizes);
      const shapes = shapesOf(sizes);
      const call = parseAttention({ data: q, shape: shapes.q }, { data: k, shape: shapes.k }, { data: v, shape: shapes.v });
      const scratch: number[] = [];
      const create = vi.spyOn(Recorder.prototype, "scratch").mockImplementation((bytes) => {
        scratch.push(bytes);
        return { buffer: { size: bytes, usage: 0 } as GPUBuffer, byteOffset: 0, byteLength: bytes };
      });
      const input = vi
        .spyOn(Recorder.prototype, "input")
        .mockImplementation((data) => ({ buffer: {} as GPUBuffer, byteOffset: 0, byteLength: data.byteLength }));
      try {
        const recorder = new Recorder(gpu.device, gpu.pool, gpu.traits);
        const out = { buffer: {} as GPUBuffer, byteOffset: 0, byteLength: elementCount(call.results.out.shape) * 4 };
        recordAttention(recorder, call, { out });
      } finally {
        create.mockRestore();
        input.mockRestore();
      }
      const large = scratch.filter((bytes) => bytes > 2 ** 20);
      expect(large).toHaveLength(1);
      expect(large[0]).toBeLessThanOrEqual(64 * 2 ** 20);
    });

    test("one head that no binding holds is an error, and nothing is recorded", async () => {
      const { q, k, v } = operandsFor(c);
      const shapes = shapesOf(c);
      const call = parseAttention({ data: q, shape: shapes.q }, { data: k, shape: shapes.k }, { data: v, shape: shapes.v });
      let programs = -1;
      await compute({ ...gpu, traits: { ...gpu.traits, bindingBytes: 8192 } }, [elementCount(call.results.out.shape)], (recorder, [out]) => {
        expect(() => out && recordAttention(recorder, call, { out })).toThrow(TooLargeError);
        programs = [...recorder.programs].length;
      });
      expect(programs).toBe(0);
    });

    test("grids that are wider than allowed are folded", async () => {
      const operands = operandsFor(c);
      const [wide, folded] = [await run(on(), operands), await run(on({ workgroupsPerDimension: 7 }), operands)];
      expectSameBits(folded.out, wide.out);
      expectSameBits((await run(on({ workgroupsPerDimension: 40 }), operandsFor(d))).out, (await run(on(), operandsFor(d))).out);
    });
  });

  describe("decode", () => {
    test("a sink counts once, however many chunks there are", async () => {
      for (const keys of [CHUNK_KEYS.webgpu - 1, CHUNK_KEYS.webgpu, CHUNK_KEYS.webgpu + 1, 9 * CHUNK_KEYS.webgpu + 5]) {
        const c = attentionCase({ heads: 4, kvHeads: 2, queries: 2, keys, dim: 8 });
        await check(on(), c, { sinks: sinks(c) });
        await check(on(), c, { sinks: sinks(c), mask: { values: [0], shape: [1] } });
        await check(on(), c, { sinks: sinks(c), windowSize: [20, 0] });
      }
    });

    test("keys of the padding behind a sequence change no bit of it", async () => {
      const c = attentionCase({ heads: 2, queries: 3, keys: 200, dim: 8 });
      const padded = attentionCase({ ...c, keys: 1300 });
      const { q, k, v } = operandsFor(c);
      const pad = (values: Float32Array): Float32Array => {
        const result = new Float32Array(2 * 1300 * 8).fill(NaN);
        for (const h of [0, 1]) result.set(values.subarray(h * 1600, (h + 1) * 1600), h * 1300 * 8);
        return result;
      };
      const short = await run(on(), { sizes: c, q, k, v }, { causal: true });
      const long = await run(on(), { sizes: padded, q, k: pad(k), v: pad(v) }, { causal: true, kvLengths: [200] });
      expectSameBits(long.out, short.out);
      expectSameBits(long.lse, short.lse);
    });

    test("of 131072 keys", async () => {
      const c = attentionCase({ queries: 1, keys: 131072, dim: 4 });
      await check(on(), c, { kvLengths: [131071], sinks: [1] });
    });
  });

  test("rows with gaps, columns of a matrix, and heads that follow length are read where they lie", async () => {
    const c = attentionCase({ batch: 2, heads: 2, queries: 5, keys: 66, dim: 6, valueDim: 3 });
    const operands = operandsFor(c);
    const shapes = shapesOf(c);
    const spread = (values: Float32Array, [b, h, l, e]: readonly [number, number, number, number], strides: readonly number[]) => {
      const data = new Float32Array(values.length * 4).fill(NaN);
      const [sb = 0, sh = 0, sl = 0, se = 0] = strides;
      values.forEach((x, i) => (data[Math.floor(i / (h * l * e)) * sb + (Math.floor(i / (l * e)) % h) * sh + (Math.floor(i / e) % l) * sl + (i % e) * se] = x));
      return { data: data.subarray(0, b * sb), shape: [b, h, l, e], strides };
    };
    const q = spread(operands.q, shapes.q, [5 * 2 * 8, 8, 16, 1]);
    const k = spread(operands.k, shapes.k, [2 * 66 * 7, 66 * 7, 1, 66]);
    const v = spread(operands.v, shapes.v, [2 * 66 * 3 + 5, 66 * 3, 3, 1]);
    const { out, lse } = await runWithLse(gpu, parseAttention(q, k, v, { causal: true, returnLse: true }));
    const plain = await run(on(), operands, { causal: true });
    expectSameBits(out.data, plain.out);
    expectSameBits(lse.data, plain.lse);
  });

  test("operands in GPU buffers are read from their offsets, results written to theirs", async () => {
    const c = attentionCase({ heads: 2, queries: 70, keys: 66, dim: 6, valueDim: 3 });
    const operands = operandsFor(c);
    const shapes = shapesOf(c);
    const place = (values: Float32Array, shape: readonly number[], offset: number) => {
      const buffer = gpu.device.createBuffer({ size: offset + values.byteLength, usage: 0x80 | 0x4 | 0x8 });
      gpu.device.queue.writeBuffer(buffer, offset, new Float32Array(values));
      return { buffer, shape, dtype: "f32" as const, offset };
    };
    const [q, k, v] = [place(operands.q, shapes.q, 4), place(operands.k, shapes.k, 260), place(operands.v, shapes.v, 1020)];
    const call = parseAttention(q, k, v, { returnLse: true });
    expect(call.operands.q.data.place).toBe("gpu");
    const plain = await run(on(), operands);
    // The results begin in the middle of what is read back.
    const [out = new Float32Array(), lse = new Float32Array()] = await compute(gpu, [plain.out.length + 3, plain.lse.length + 65], (recorder, [o, l]) => {
      if (o === undefined || l === undefined) return;
      recordAttention(recorder, call, {
        out: { ...o, byteOffset: 12, byteLength: plain.out.byteLength },
        lse: { ...l, byteOffset: 260, byteLength: plain.lse.byteLength },
      });
    });
    expectSameBits(out.slice(3), plain.out);
    expectSameBits(lse.slice(65), plain.lse);
    expect([...out.subarray(0, 3)]).toEqual([NaN, NaN, NaN]);
  });

  test("keys and values of length 0 may lie in empty buffers, or at the end of one", async () => {
    const usage = 0x80 | 0x4 | 0x8;
    const [empty, full] = [gpu.device.createBuffer({ size: 0, usage }), gpu.device.createBuffer({ size: 512, usage })];
    for (const nothing of [
      { buffer: empty, offset: 0 },
      { buffer: full, offset: 512 },
    ]) {
      const [k, v] = [4, 5].map((dim) => ({ ...nothing, shape: [2, 0, dim], dtype: "f32" }) as const);
      for (const queries of [3, 70]) {
        const q = { data: new Float32Array(2 * queries * 4), shape: [2, queries, 4] };
        const { out, lse } = await runWithLse(gpu, parseAttention(q, k, v, { returnLse: true }));
        expect(out.data.every((x) => x === 0)).toBe(true);
        expect(lse.data.every((x) => x === -Infinity)).toBe(true);
      }
    }
  });

  describe("mergeStates", () => {
    const c = attentionCase({ batch: 2, heads: 3, queries: 4, keys: 90, dim: 8, valueDim: 5 });
    const operands = operandsFor(c);

    /** Attention over the keys that `sees` names: disjoint ones merge to attention over all. */
    async function part(sees: (j: number) => boolean) {
      const mask = { values: Array.from({ length: 90 }, (_, j) => Number(sees(j))), shape: [90] };
      const { out, lse } = await run(on(), operands, { mask });
      return { out: { data: out, shape: shapesOf(c).out }, lse: { data: lse, shape: [2, 3, 4] } };
    }

    test("of parts is attention over all of them", async () => {
      const whole = expectedOf(operands, {});
      for (const count of [1, 2, 3, 5]) {
        const parts = await Promise.all(Array.from({ length: count }, (_, p) => part((j) => j % count === p)));
        const { out, lse } = await on().mergeStates(parts);
        expectAttention({ out: out.data, lse: lse.data }, whole, toleranceFor(operands, {}, "webgpu"), `${count} parts`);
        // A few rows: a binding starts up to 255 bytes before its first.
        const cut = await on({ bindingBytes: 512 }).mergeStates(parts);
        expectSameBits(cut.out.data, out.data);
        expectSameBits(cut.lse.data, lse.data);
      }
    });

    test("gives the same bits in either order", async () => {
      const [a, b] = [await part((j) => j < 20), await part((j) => j >= 20)];
      const [ab, ba] = [await on().mergeStates([a, b]), await on().mergeStates([b, a])];
      expectSameBits(ab.out.data, ba.out.data);
      expectSameBits(ab.lse.data, ba.lse.data);
    });

    test("takes nothing from states without keys, not even NaN", async () => {
      const some = await part((j) => j % 2 === 0);
      const none = {
        out: { data: some.out.data.map(() => NaN), shape: some.out.shape },
        lse: { data: some.lse.data.map(() => -Infinity), shape: some.lse.shape },
      };
      for (const parts of [
        [some, none],
        [none, some],
        [none, none, some],
      ]) {
        const merged = await on().mergeStates(parts);
        expectSameBits(merged.out.data, some.out.data);
        expectSameBits(merged.lse.data, some.lse.data);
      }
      for (const parts of [[none], [none, none]]) {
        const merged = await on().mergeStates(parts);
        expect(merged.out.data.every((x) => x === 0)).toBe(true);
        expect(merged.lse.data.every((x) => x === -Infinity)).toBe(true);
      }
    });

    test("of heads behind length, and of views with gaps", async () => {
      const parts = [await part((j) => j < 20), await part((j) => j >= 20)];
      const merged = await on().mergeStates(parts);
      /** [B, H, L, E] as [B, L, H, E], spread out. */
      const swapped = parts.map(({ out, lse }) => {
        const data = new Float32Array(2 * 4 * 3 * 5 * 2 + 8).fill(NaN);
        out.data.forEach((x, i) => {
          const [b, h, l, e] = [Math.floor(i / 60), Math.floor(i / 20) % 3, Math.floor(i / 5) % 4, i % 5];
          data[b * 120 + l * 30 + h * 10 + e * 2] = x;
        });
        return { out: { data, shape: [2, 4, 3, 5], strides: [120, 30, 10, 2] }, lse };
      });
      const { out, lse } = await on().mergeStates(swapped, { layout: "blhd" });
      expectSameBits(lse.data, merged.lse.data);
      merged.out.data.forEach((x, i) => {
        const [b, h, l, e] = [Math.floor(i / 60), Math.floor(i / 20) % 3, Math.floor(i / 5) % 4, i % 5];
        expect(out.data[((b * 4 + l) * 3 + h) * 5 + e]).toBe(x);
      });
    });

    test("of outputs without columns has log-sum-exps", async () => {
      const state = (lse: number) => ({ out: { data: new Float32Array(0), shape: [2, 0] }, lse: Float32Array.of(lse, -Infinity) });
      const call = parseMergeStates([state(0), state(0)]);
      const [, lse = new Float32Array()] = await compute(gpu, [0, 2], (recorder, [o, l]) => {
        if (o !== undefined && l !== undefined) recordMerge(recorder, call, { out: o, lse: l });
      });
      expect(lse[0]).toBeCloseTo(Math.log(2), 5);
      expect(lse[1]).toBe(-Infinity);
    });
  });
}

/** Runs a call that has a log-sum-exp. */
async function runWithLse(gpu: Gpu, call: AttentionCall): Promise<AttentionResultWithLse> {
  return (await runCall(gpu, call)) as AttentionResultWithLse;
}

/** The same numbers, but such that f16 holds them. */
function halves(operands: Operands): Operands {
  const round = (values: Float32Array): Float32Array => values.map((x) => Math.round(x * 64) / 64);
  return { ...operands, q: round(operands.q), k: round(operands.k), v: round(operands.v) };
}

function half(values: Float32Array, shape: readonly number[]) {
  return { data: halved(values).bits, shape, dtype: "f16" };
}
