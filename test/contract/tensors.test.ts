import { describe, expect, test } from "vitest";
import {
  type Float16ArrayLike,
  OnlineSoftmax,
  type TensorLike,
  UnsupportedError,
  attention,
  convert,
  empty,
  logSumExp,
  mergeStates,
  softmax,
  tensor,
} from "../../src/index.ts";
import { createInstance } from "../../src/testing/testing.ts";
import { resizableBuffer } from "../support/resizable.ts";
import { expectThrown } from "../support/thrown.ts";
import { unavailable } from "../support/variants.ts";

// What is taken as a tensor, whoever made it.

const numbers = Float32Array.of(0.5, -1, 2, 0.25, 3, -2);

describe("masks", () => {
  const bytes = [1, 0, 1, 0, 1, 1];
  const expected = softmax(tensor(numbers, [2, 3]), { mask: { data: Uint8Array.from(bytes), shape: [2, 3] } });

  test.each([
    ["a tensor of a Uint8Array", tensor(Uint8Array.from(bytes), [2, 3]), "u8"],
    ["a tensor of a Uint8ClampedArray", tensor(Uint8ClampedArray.from(bytes), [2, 3]), "u8"],
    [
      "a tensor of an Int8Array, where −1 keeps as well",
      tensor(
        Int8Array.from(bytes, (b) => -b),
        [2, 3],
      ),
      "i8",
    ],
    ["a view with strides", tensor(Uint8Array.of(1, 0, 0, 1, 1, 1), [2, 3], { strides: [1, 2] }), "u8"],
  ] as const)("may be %s", (_, mask, dtype) => {
    expect(mask.dtype).toBe(dtype);
    expect(softmax(tensor(numbers, [2, 3]), { mask })).toEqual(expected);
  });

  test.each(["bool", "uint8"])("may be what ONNX Runtime calls %s", (type) => {
    expect(softmax(tensor(numbers, [2, 3]), { mask: { data: Uint8Array.from(bytes), dims: [2, 3], type } })).toEqual(expected);
  });

  test("are no numbers to compute with", () => {
    expectThrown(() => softmax(new Uint8Array(2) as never), UnsupportedError, '"x" has dtype u8; expected f32, f64, f16, bf16, or i8 with scales');
  });
});

describe("tensors of ONNX Runtime", () => {
  const asOnnx = (data: unknown, type: string): TensorLike => ({ data, dims: [2, 3], type });

  test.each([
    ["float32", numbers],
    ["float64", Float64Array.from(numbers)],
  ])("%s", (type, data) => {
    expect(softmax(asOnnx(data, type))).toEqual(softmax(tensor(data, [2, 3])));
  });

  test("float16, which they say in their type", () => {
    const half = convert(tensor(numbers, [2, 3]), "f16");
    const [given, same] = [asOnnx(half.data, "float16"), convert(half, "f32")];
    expect(softmax(given)).toEqual(softmax(same));
    expect(attention(given, given, given)).toEqual(attention(same, same, same));
    const out = { data: new Uint16Array(6), dims: [2, 3], type: "float16" };
    expect(softmax(given, { out }).data).toBe(out.data);
    expect(out.data).toEqual(convert(softmax(same), "f16").data);
  });

  test("of integers are refused, whatever their type says", () => {
    expectThrown(() => softmax(asOnnx(new BigInt64Array(6), "int64")), TypeError, '"x" expected float data (Float32Array, Float64Array), got BigInt64Array');
    expectThrown(() => softmax(asOnnx(numbers, "float64")), TypeError, '"x" expected dtype "f32" for a Float32Array, got "f64"');
  });

  test("a type of other words than theirs says nothing", () => {
    expect(softmax(asOnnx(numbers, "logits"))).toEqual(softmax(tensor(numbers, [2, 3])));
  });
});

describe("a Float16Array", () => {
  test("is f16", ({ skip }) => {
    const Halves = (globalThis as { Float16Array?: new (count: number) => Float16ArrayLike }).Float16Array;
    if (Halves === undefined) {
      unavailable(skip, "this engine has no Float16Array");
      return;
    }
    const data = new Halves(4);
    expect(tensor(data, [2, 2])).toEqual({ data, shape: [2, 2], dtype: "f16" });
    data.set([1, -2, 0.1, 70]);
    const same = convert(data, "f32");
    expect(same.data[2]).toBeCloseTo(0.1, 4);
    expect(softmax(data)).toEqual(softmax(same));
    const out = new Halves(4);
    softmax(data, { out });
    expect(Array.from(out as ArrayLike<number>)).toEqual(Array.from(convert(convert(softmax(same), "f16"), "f32").data));
  });
});

describe("views that were detached", () => {
  const detached = (array: Float32Array | Uint8Array): never => {
    structuredClone(array.buffer, { transfer: [array.buffer] });
    return array as never;
  };
  const message = (name: string): string =>
    `"${name}" is detached or out of its buffer's bounds, as views of module memory are when it grows: take tensor.data again`;

  test("are refused, not taken for empty ones", () => {
    expectThrown(() => softmax(detached(new Float32Array(3))), TypeError, message("x"));
    expectThrown(() => softmax({ data: detached(new Float32Array(3)), shape: [3] }), TypeError, message("x"));
    expectThrown(() => tensor(detached(new Float32Array(3))), TypeError, message("data"));
    expectThrown(() => softmax(numbers, { out: detached(new Float32Array(6)) }), TypeError, message("out"));
    expectThrown(() => softmax(numbers, { bias: detached(new Float32Array(6)) }), TypeError, message("bias"));
    expectThrown(() => softmax(numbers, { mask: detached(new Uint8Array(6)) }), TypeError, message("mask"));
    const lse = detached(new Float32Array(1));
    expectThrown(() => mergeStates([{ out: tensor(numbers, [1, 6]), lse }]), TypeError, message("parts[0].lse"));
  });

  test("also those of a tensor in module memory, when that has grown", () => {
    const kept = empty([4]);
    const before = kept.data.fill(1);
    const large = empty([4 * 2 ** 20]);
    expectThrown(() => softmax(before, { out: before }), TypeError, message("x"));
    expect([...softmax(kept.data).data]).toEqual([0.25, 0.25, 0.25, 0.25]);
    large.dispose();
    kept.dispose();
  });

  test("and those that are out of the bounds of a buffer that has been resized", () => {
    const resized = (View: typeof Float32Array | typeof Uint8Array): never => {
      const buffer = resizableBuffer(64);
      const view = new View(buffer, 0, 6);
      buffer.resize(4);
      return view as never;
    };
    expectThrown(() => softmax(resized(Float32Array)), TypeError, message("x"));
    expectThrown(() => logSumExp({ data: resized(Float32Array), shape: [0] }), TypeError, message("x"));
    expectThrown(() => softmax(numbers, { out: resized(Float32Array) }), TypeError, message("out"));
    expectThrown(() => softmax(numbers, { mask: resized(Uint8Array) }), TypeError, message("mask"));
    expectThrown(() => new OnlineSoftmax().push(resized(Float32Array)), TypeError, message("block"));
    expectThrown(() => tensor(resized(Float32Array), [0]), TypeError, message("data"));
    expectThrown(() => softmax(new DataView(new ArrayBuffer(0)) as never), TypeError, '"x" expected float data (Float32Array, Float64Array), got DataView');
  });

  test("but not arrays that are empty", () => {
    expect(softmax(new Float32Array(0)).shape).toEqual([0]);
    expect([...logSumExp(new Float32Array(new ArrayBuffer(8), 8)).data]).toEqual([-Infinity]);
  });
});

describe("getters of the caller", () => {
  const weights = softmax(Float32Array.of(1, 2, 3, 4)).data;
  const bias = (effect: () => void, count = 4): TensorLike => ({
    get data() {
      effect();
      return new Float32Array(count);
    },
    shape: [count],
  });

  test("may grow the memory that the arguments are in", () => {
    const instance = createInstance();
    const { memory } = instance;
    const [x, out] = [instance.empty([1, 4]), instance.empty([1, 4])];
    x.data.set([1, 2, 3, 4]);
    const growing = (count?: number): TensorLike => bias(() => void instance.empty([memory.byteLength / 4]), count);
    const grow = growing();
    expect([...instance.softmax(x, { bias: grow }).data]).toEqual([...weights]);
    instance.softmax(x, { bias: grow, out });
    expect([...out.data]).toEqual([...weights]);
    expect(instance.logSumExp(x, { bias: grow }).data).toEqual(instance.logSumExp(x).data);
    expect([...instance.attention(x, x, x, { bias: growing(1) }).data]).toEqual([1, 2, 3, 4]);
    const options = {
      get scale() {
        instance.empty([memory.byteLength / 4]);
        return 1;
      },
    };
    expect([...instance.softmax(x, options).data]).toEqual([...weights]);
  });

  test("that take away an argument's memory make a call throw", () => {
    const x = Float32Array.of(1, 2, 3, 4);
    const transfer = (array: Float32Array): TensorLike => bias(() => void structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] }));
    expectThrown(() => softmax(x, { bias: transfer(x) }), TypeError, '"x" was detached or made smaller while the call ran');
  });
});

describe("plain arrays of numbers", () => {
  test("are inputs of every operation, nested ones with their shape", () => {
    const rows = [
      [0.5, -1, 2],
      [0.25, 3, -2],
    ];
    const x = tensor(numbers, [2, 3]);
    expect(softmax([0.5, -1, 2])).toEqual(softmax(numbers.subarray(0, 3)));
    expect(softmax(rows)).toEqual(softmax(x));
    expect(softmax(x, { bias: [1, 2, 3] })).toEqual(softmax(x, { bias: Float32Array.of(1, 2, 3) }));
    expect(attention([rows], [rows], [rows])).toEqual(attention({ ...x, shape: [1, 2, 3] }, { ...x, shape: [1, 2, 3] }, { ...x, shape: [1, 2, 3] }));
    expect(new OnlineSoftmax().push([1, 2]).logSumExp).toEqual(new OnlineSoftmax().push(Float32Array.of(1, 2)).logSumExp);
    expect(softmax([]).shape).toEqual([0]);
    expect(softmax([[], []]).shape).toEqual([2, 0]);
  });
});

describe("shapes and strides", () => {
  test.each([
    ["an Int32Array", Int32Array.of(2, 3)],
    ["bigints", [2n, 3n]],
    ["a BigInt64Array", BigInt64Array.of(2n, 3n)],
    ["a set", new Set([2, 3])],
  ])("may be %s", (_, shape) => {
    expect(tensor(numbers, shape)).toEqual(tensor(numbers, [2, 3]));
    expect(softmax({ data: numbers, shape }).shape).toEqual([2, 3]);
    expect(empty(shape).shape).toEqual([2, 3]);
  });

  test("are copied, so that changing them later changes nothing", () => {
    const shape = [2, 3];
    const x = tensor(numbers, shape);
    const y = softmax({ data: numbers, shape });
    shape[0] = 99;
    expect([x.shape, y.shape]).toEqual([
      [2, 3],
      [2, 3],
    ]);
  });
});

describe("lists of integers", () => {
  const x = tensor(numbers, [2, 1, 3, 1]);
  const expected = attention(x, x, x, { kvLengths: [1, 2] });
  test.each([
    ["a Uint32Array", Uint32Array.of(1, 2)],
    ["a BigInt64Array", BigInt64Array.of(1n, 2n)],
    ["an int32 tensor", { data: Int32Array.of(1, 2), dims: [2], type: "int32" }],
    ["an int64 tensor", { data: BigInt64Array.of(1n, 2n), dims: [2], type: "int64" }],
  ])("may be %s", (_, kvLengths) => {
    expect(attention(x, x, x, { kvLengths })).toEqual(expected);
  });
});
