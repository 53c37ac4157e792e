import { describe, expect, test } from "vitest";
import { type FloatArray, type Tensor, tensor } from "../../src/index.ts";
import { createInstance } from "../../src/testing/testing.ts";
import { countOf } from "../reference/indices.ts";
import { type Layout, hostHomes, layoutsIn, place, readTensor, store } from "../support/layouts.ts";
import { maskBytes, numbersOf } from "../support/numbers.ts";
import { type CommonOptions, OPS, call, expected, reducedShape } from "../support/operands.ts";
import { type FloatType, type Op, expectClose, expectSameBits, withModifiers } from "../support/tolerances.ts";
import { type Home, type Subject, describeSubjects, subjectOf } from "../support/subjects.ts";
import { describeVariants } from "../support/variants.ts";

// Wherever input and output lie and however they are laid out, the bits of the result are those of the plain call
// (SEMANTICS 14), the input is as it was, and nothing around the output has been touched.

/** Small, across memory, in several chunks, longer than a block, with more rows than are transposed one by one. */
const SHAPES: readonly { shape: readonly number[]; axis: number }[] = [
  { shape: [], axis: 0 },
  { shape: [13], axis: 0 },
  { shape: [5, 7], axis: 1 },
  { shape: [5, 7], axis: 0 },
  { shape: [3, 4, 6], axis: 1 },
  { shape: [2, 3, 2, 5], axis: -3 },
  { shape: [3, 1500], axis: 1 },
  { shape: [70, 66], axis: 0 },
  { shape: [90, 800], axis: 1 },
  { shape: [260, 258], axis: 0 },
];

/** Without options a tensor in module memory is used in place; with them it goes through another pass. */
const MODIFIERS = ["plain", "modified"] as const;

function optionsFor(modifier: (typeof MODIFIERS)[number], dtype: FloatType, shape: readonly number[]): CommonOptions {
  if (modifier === "plain") return {};
  const row = shape.slice(-1);
  return {
    scale: 0.5,
    bias: tensor(numbersOf(dtype, "normal", countOf(row), 5), row),
    mask: { data: maskBytes(countOf(shape)), shape },
    safe: true,
  };
}

/** What a plain call with arrays gives; checked against the reference before anything is compared with it. */
async function plainResult(
  subject: Subject,
  op: Op,
  dtype: FloatType,
  x: FloatArray,
  shape: readonly number[],
  options: CommonOptions & { axis: number },
): Promise<FloatArray> {
  const result = (await call(subject, op, tensor(x, shape), options)).data;
  const { bias, mask, ...rest } = options;
  const operand = (given: CommonOptions["bias"] | CommonOptions["mask"]) => {
    const { data, shape: of = [] } = given as { data: ArrayLike<number>; shape?: readonly number[] };
    return { values: data, shape: of };
  };
  const y = expected(op, x, shape, { ...rest, bias: bias && operand(bias), mask: mask && operand(mask) });
  // The numbers are up to 300 (halved by the scale), the bias up to 10.
  expectClose(result, y, withModifiers(op, dtype, options.scale === undefined ? 0 : 310, subject.kind), `${op}, plain`);
  return result;
}

/**
 * The bits of the plain call. Where rows lie across memory, or do not begin where four numbers do, the GPU has another kernel, which
 * sums in another order (SEMANTICS 14 speaks of one kernel): there both results are within the tolerance, to opposite sides at worst.
 */
function expectSame(
  subject: Subject,
  op: Op,
  [actual, plain]: readonly [FloatArray, FloatArray],
  inPlainOrder: boolean,
  modified: boolean,
  label: string,
): void {
  if (subject.kind === "wasm" || inPlainOrder) {
    expectSameBits(actual, plain, label);
    return;
  }
  const { relative, absolute } = withModifiers(op, "f32", modified ? 310 : 0, subject.kind);
  expectClose(actual, plain, { relative: 2 * relative, absolute: 2 * absolute }, label);
}

interface Place {
  readonly home: Home;
  readonly layout: Layout;
}

/** Whether a tensor comes to the GPU as one of the plain call does: here all others begin in the middle of a buffer. */
function sameAsPlain({ home, layout }: Place): boolean {
  return home === "array" && layout === "contiguous";
}

/** Every place a tensor of a shape may have. */
function places({ homes }: Subject, shape: readonly number[]): Place[] {
  return homes.flatMap((home) =>
    (shape.length > 1 ? layoutsIn(home) : layoutsIn(home).filter((layout) => ONE_DIMENSIONAL.has(layout))).map((layout) => ({ home, layout })),
  );
}

/** Layouts that differ when there is but one dimension, or none. */
const ONE_DIMENSIONAL: ReadonlySet<Layout> = new Set<Layout>(["contiguous", "element gaps"]);

/** Every place for the input with every place for the output; of large shapes each with a few, so that each occurs on both sides. */
function pairs(subject: Subject, input: readonly number[], output: readonly number[]): (readonly [Place, Place])[] {
  const to = places(subject, output);
  return places(subject, input).flatMap((from, i) =>
    (countOf(input) < 1000 ? to : [to[i % to.length], to[(i + 3) % to.length]]).map(
      (place) => [from, place ?? { home: "array", layout: "contiguous" }] as const,
    ),
  );
}

describeSubjects("placements", (subject) => {
  describe.each(subject.dtypes)("%s", (dtype) => {
    describe.each(MODIFIERS)("%s", (modifier) => {
      describe.each(SHAPES.map((c) => [`[${c.shape.join(", ")}] axis ${c.axis}`, c] as const))("%s", (_, { shape, axis }) => {
        const x = numbersOf(dtype, "wide", countOf(shape));
        const options = { ...optionsFor(modifier, dtype, shape), axis };

        test.each(OPS)("%s from every layout to every layout", async (op) => {
          const plain = await plainResult(subject, op, dtype, x, shape, options);
          const resultShape = op === "logSumExp" ? reducedShape(shape, [axis]) : shape;
          for (const [from, to] of pairs(subject, shape, resultShape)) {
            const label = `${op} from ${from.home} ${from.layout} to ${to.home} ${to.layout}`;
            const input = await place(subject, dtype, shape, { ...from, values: x });
            const output = await place(subject, dtype, resultShape, to);
            const result = await call(subject, op, input.tensor, { ...options, out: output.tensor });
            expect(result, label).toBe(output.tensor);
            expectSame(subject, op, [await output.values(), plain], sameAsPlain(from), modifier === "modified", label);
            await output.expectSentinels(label);
            expectSameBits(await input.values(), x, `${label}: the input`);
            await input.expectSentinels(`${label}: around the input`);
            input.dispose();
            output.dispose();
          }
        });

        test.each(["softmax", "logSoftmax"] as const)("%s in place, in every layout", async (op) => {
          const plain = await plainResult(subject, op, dtype, x, shape, options);
          for (const where of places(subject, shape)) {
            const label = `${op} in place, ${where.home} ${where.layout}`;
            const both = await place(subject, dtype, shape, { ...where, values: x });
            expect(await call(subject, op, both.tensor, { ...options, out: both.tensor })).toBe(both.tensor);
            expectSame(subject, op, [await both.values(), plain], sameAsPlain(where), modifier === "modified", label);
            await both.expectSentinels(label);
            both.dispose();
          }
        });

        test.each(OPS)("%s to a typed array", async (op) => {
          const plain = await plainResult(subject, op, dtype, x, shape, options);
          const backing = numbersOf(dtype, "normal", plain.length + 14);
          const before = backing.slice();
          const out = backing.subarray(7, 7 + plain.length);
          const result = await call(subject, op, tensor(x, shape), { ...options, out });
          expect(result.data).toBe(out);
          expect(result.shape).toEqual(op === "logSumExp" ? reducedShape(shape, [axis]) : shape);
          expectSameBits(out, plain, op);
          backing.set(before.subarray(7, 7 + plain.length), 7);
          expectSameBits(backing, before, `${op}: around the output`);
        });
      });
    });

    test("a row or a column for all, by stride 0", async () => {
      for (const [shape, strides, count] of [
        [[4, 9], [0, 1], 9],
        [[4, 9], [1, 0], 4],
        [[3, 80, 5], [0, 5, 1], 400],
        [[3, 80, 5], [80, 1, 0], 240],
        [[2, 3], [0, 0], 1],
        [[100, 1100], [0, 1], 1100],
      ] as const) {
        const values = numbersOf(dtype, "wide", count);
        for (const home of hostHomes(subject)) {
          const stored = await store(subject, home, values);
          const x = stored.view(0, shape, strides) as Tensor<FloatType>;
          const full = readTensor({ data: values, shape, dtype, strides });
          for (let axis = 0; axis < shape.length; axis++) {
            for (const op of OPS) {
              const plain = await plainResult(subject, op, dtype, full, shape, { axis });
              expectSame(
                subject,
                op,
                [(await call(subject, op, x, { axis })).data, plain],
                false,
                false,
                `${op} of [${shape.join(", ")}] with strides [${strides.join(", ")}] axis ${axis}`,
              );
            }
          }
          stored.dispose();
        }
      }
    });
  });

  test("strides may be given for what is contiguous", async () => {
    const x = numbersOf("f32", "wide", 12);
    const plain = (await subject.softmax(tensor(x, [3, 4]))).data;
    const out = new Float32Array(12);
    await subject.softmax(tensor(x, [3, 4], { strides: [4, 1] }), { out: tensor(out, [3, 4], { strides: [4, 1] }) });
    expectSameBits(out, plain);
    // The stride of a dimension of size 1 means nothing.
    expectSameBits((await subject.softmax(tensor(x, [1, 12], { strides: [0, 1] }))).data, (await subject.softmax(x)).data);
    expectSameBits((await subject.softmax(tensor(x, [1, 12], { strides: [999, 1] }))).data, (await subject.softmax(x)).data);
  });

  test("data may be longer than the shape needs", async () => {
    const x = numbersOf("f32", "wide", 20);
    const plain = (await subject.softmax(tensor(x.slice(0, 6), [2, 3]))).data;
    expectSameBits((await subject.softmax({ data: x, shape: [2, 3] })).data, plain);
    const out = { data: new Float32Array(20).fill(7), dims: [2, 3] };
    await subject.softmax({ data: x, dims: [2, 3] }, { out });
    expectSameBits(out.data.subarray(0, 6), plain);
    expect([...out.data.subarray(6)]).toEqual(new Array(14).fill(7));
  });
});

describeVariants("placements in memory that grows", (instance) => {
  test("memory that grows during a call does not lose module tensors", async () => {
    // 300 rows of 20000 across memory: gathering them takes 24 MB of scratch and as much to transpose.
    const shape = [20000, 300];
    const values = numbersOf("f32", "wide", countOf(shape));
    const plain = instance.softmax(tensor(values, shape), { axis: 0 }).data as Float32Array;
    for (const [home, outHome] of [
      ["module", "array"],
      ["array", "module"],
      ["module", "module"],
    ] as const) {
      const fresh = createInstance(instance.variant);
      const x = await place(subjectOf(fresh), "f32", shape, { home, values });
      const out = await place(subjectOf(fresh), "f32", shape, { home: outHome });
      const before = fresh.memory.byteLength;
      fresh.softmax(x.tensor, { axis: 0, out: out.tensor });
      expect(fresh.memory.byteLength, "this test is about growth").toBeGreaterThan(before);
      expectSameBits(await out.values(), plain, `${home} to ${outHome}`);
      expectSameBits(await x.values(), values, `${home} to ${outHome}: the input`);
    }
    // The bias, too, may lie in module memory.
    const fresh = createInstance(instance.variant);
    const bias = await place(subjectOf(fresh), "f32", shape, { home: "module", values });
    const biased = fresh.softmax(tensor(values, shape), { axis: 0, bias: bias.tensor }).data as Float32Array;
    expectSameBits(biased, instance.softmax(tensor(values, shape), { axis: 0, bias: tensor(values, shape) }).data, "bias");
  });

  test("a row longer than all scratch, in module memory, as first call", () => {
    const values = numbersOf("f32", "normal", 2_000_000);
    const plain = instance.softmax(values).data as Float32Array;
    const fresh = createInstance(instance.variant);
    const x = fresh.empty([2_000_000]);
    x.data.set(values);
    expectSameBits(fresh.softmax(x).data, plain);
    expectSameBits(fresh.softmax(x, { scale: 1, bias: new Float32Array(2_000_000) }).data, plain, "with bias");
    expectClose(fresh.logSumExp(x, { bias: new Float32Array(2_000_000) }).data, expected("logSumExp", values, [2_000_000], { axis: 0 }), {
      relative: 6e-8,
      absolute: 1e-6,
    });
  });
});
