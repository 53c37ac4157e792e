import { describe, expect, test } from "vitest";
import { type OutputLike, type TensorLike, tensor } from "../../src/index.ts";
import { maskBytes, numbers } from "../support/numbers.ts";
import { OPS, call } from "../support/operands.ts";
import { describeVariants } from "../support/variants.ts";

describeVariants("out", (instance) => {
  const shape = [4, 6];
  const x = tensor(numbers("normal", 24), shape);
  const y = instance.softmax(x).data as Float32Array;

  describe("may be the input", () => {
    test("the same array", () => {
      const both = x.data.slice();
      expect(instance.softmax(tensor(both, shape), { out: both }).data).toBe(both);
      expect(both).toEqual(y);
    });

    test("the same tensor", () => {
      const both = tensor(x.data.slice(), shape);
      expect(instance.softmax(both, { out: both })).toBe(both);
      expect(both.data).toEqual(y);
    });

    test("two views of the same place", () => {
      const buffer = x.data.slice().buffer;
      instance.softmax(tensor(new Float32Array(buffer), shape), { out: tensor(new Float32Array(buffer), shape) });
      expect(new Float32Array(buffer)).toEqual(y);
    });

    test("the same module tensor", () => {
      const both = instance.empty(shape);
      both.data.set(x.data);
      expect(instance.softmax(both, { out: both })).toBe(both);
      expect(both.data).toEqual(y);
      both.dispose();
    });

    test("log-sum-exp over axes of size 1 or none", () => {
      const both = numbers("normal", 5);
      const before = both.slice();
      instance.logSumExp(tensor(both, [5, 1]), { keepDims: true, out: tensor(both, [5, 1]) });
      expect(both).toEqual(before);
      instance.logSumExp(both, { axis: [], out: both });
      expect(both).toEqual(before);
    });
  });

  describe("is refused, and left alone,", () => {
    /** A buffer that all operands lie in, and views of it. */
    const refused: readonly (readonly [string, (buffer: Float32Array) => { x: TensorLike; out: OutputLike; bias?: TensorLike }, RegExp])[] = [
      ["when it overlaps the input by one element", (b) => ({ x: tensor(b.subarray(0, 24), shape), out: b.subarray(23, 47) }), /^"out" overlaps .*same view/],
      ["when it starts before the input", (b) => ({ x: tensor(b.subarray(10, 34), shape), out: b.subarray(0, 24) }), /^"out" overlaps .*same view/],
      [
        "when it has other strides than the input",
        (b) => ({ x: tensor(b.subarray(0, 24), shape), out: tensor(b.subarray(0, 24), shape, { strides: [1, 4] }) }),
        /^"out" overlaps .*same view/,
      ],
      ["when it is the bias", (b) => ({ x, out: b.subarray(0, 24), bias: tensor(b.subarray(0, 24), shape) }), /^"out" overlaps .*"bias"/],
      ["when it overlaps the bias", (b) => ({ x, out: b.subarray(0, 24), bias: b.subarray(20, 26) }), /^"out" overlaps .*"bias"/],
      [
        "when two of its elements share a place",
        (b) => ({ x, out: tensor(b, shape, { strides: [5, 1] }) }),
        /^"out" expected strides that give every element its own place/,
      ],
      [
        "when its rows are one row",
        (b) => ({ x, out: tensor(b, shape, { strides: [0, 1] }) }),
        /^"out" expected strides that give every element its own place/,
      ],
    ];

    test.each(refused)("%s", (_, make, message) => {
      const buffer = numbers("normal", 60);
      const before = buffer.slice();
      const { x: input, ...options } = make(buffer);
      for (const run of [() => instance.softmax(input, options), () => instance.logSoftmax(input, options)]) {
        expect(run).toThrow(RangeError);
        expect(run).toThrow(message);
        expect(buffer).toEqual(before);
      }
    });

    test("when it overlaps the mask", () => {
      const out = new Float32Array(24).fill(7);
      const mask = { data: new Uint8Array(out.buffer, 0, 24), shape };
      expect(() => instance.softmax(x, { out, mask })).toThrow(RangeError);
      expect(() => instance.softmax(x, { out, mask })).toThrow(/^"out" overlaps .*"mask"/);
      expect(out).toEqual(new Float32Array(24).fill(7));
    });

    test("when log-sum-exp would write into what it reads", () => {
      const data = x.data.slice();
      expect(() => instance.logSumExp(tensor(data, shape), { out: data.subarray(0, 4) })).toThrow(RangeError);
      expect(data).toEqual(x.data);
    });

    test("when module tensors overlap", () => {
      const kept = instance.empty([48]);
      kept.data.fill(1);
      expect(() => instance.softmax(tensor(kept.data.subarray(0, 24), shape), { out: kept.data.subarray(12, 36) })).toThrow(/^"out" overlaps/);
      expect([...kept.data]).toEqual(new Array(48).fill(1));
      kept.dispose();
    });
  });

  test("neighbours in one buffer are no overlap", () => {
    const buffer = new Float32Array(48);
    buffer.set(x.data);
    instance.softmax(tensor(buffer.subarray(0, 24), shape), { out: buffer.subarray(24) });
    expect(buffer.slice(24)).toEqual(y);
    expect(buffer.slice(0, 24)).toEqual(x.data);
  });

  test("what lies behind a shape in its array is no part of it", () => {
    const buffer = new Float32Array(80);
    const [rest, whole] = [buffer.subarray(24, 48), { data: buffer, shape }];
    buffer.set(x.data);
    expect(instance.softmax(whole, { out: rest }).data).toEqual(y);
    rest.set(x.data);
    expect(instance.softmax(tensor(rest, shape), { out: whole })).toMatchObject({ shape, dtype: "f32" });
    expect(buffer.slice(0, 24)).toEqual(y);
    const bias = { data: buffer.fill(0), shape: [6] };
    expect(instance.softmax(x, { bias, out: buffer.subarray(6, 30) }).data).toEqual(y);
    const mask = { data: new Uint8Array(buffer.buffer).fill(1), shape };
    expect(instance.softmax(x, { mask, out: buffer.subarray(6, 30) }).data).toEqual(y);
    const strided = { data: buffer.fill(0), shape: [4, 6], strides: [0, 1] };
    expect(instance.logSumExp(strided, { out: buffer.subarray(6, 10) }).data.length).toBe(4);
  });

  test("is returned where it is a tensor, and else one over its numbers", () => {
    const out = { data: new Float32Array(24), dims: shape };
    const result = instance.softmax(x, { out });
    expect(result).toEqual({ data: y, shape, dtype: "f32", strides: [6, 1] });
    expect(result.data).toBe(out.data);
  });

  test("any other option that is wrong leaves it alone", () => {
    const out = new Float32Array(24).fill(7);
    const wrong = [{ axis: 2 }, { scale: NaN }, { bias: new Float32Array(5) }, { mask: new Uint8Array(5) }, { safe: 1 }, { algorithm: "fast" }, { sclae: 1 }];
    for (const options of wrong) expect(() => instance.softmax(x, { ...(options as object), out }), JSON.stringify(options)).toThrow();
    expect(out).toEqual(new Float32Array(24).fill(7));
  });

  test("without it the result is a new array, and no input changes", () => {
    for (const op of OPS) {
      const input = x.data.slice();
      const bias = numbers("normal", 6, 3);
      const mask = maskBytes(24);
      const before = [input.slice(), bias.slice(), mask.slice()];
      const first = call(instance, op, tensor(input, shape), { scale: 2, bias, mask: { data: mask, shape }, safe: true });
      const second = call(instance, op, tensor(input, shape), { scale: 2, bias, mask: { data: mask, shape }, safe: true });
      expect([input, bias, mask]).toEqual(before);
      expect(first).toEqual(second);
      expect(first.data).not.toBe(second.data);
      expect(first.data.buffer).not.toBe(instance.memory.memory.buffer);
    }
  });

  test("a result keeps its numbers when the next call is made", () => {
    const first = instance.softmax(x).data;
    const copy = first.slice();
    instance.softmax(tensor(numbers("wide", 24), shape));
    expect(first).toEqual(copy);
  });
});
