import { describe, expect, test } from "vitest";
import { type Engine, attention, createEngine, logSumExp, softmax, tensor } from "../../src/index.ts";
import { createInstance } from "../../src/testing/testing.ts";

// Elements that are 2³¹ elements and more from the first, and the top of a memory of 4 GiB. Pages that nobody touches take no memory.

const STEP = 2 ** 30;
const STRIDED = [3, 4];
const strides = [STEP, 1];
const NUMBERS = [0, 1, 2, -1, 3, 0.5, 2, -2, 1, 1, 0, 4];
const NEAR = tensor(Float32Array.from(NUMBERS), STRIDED);

/** The numbers, with rows a billion elements apart. */
function spread<A extends Float32Array | Uint8Array>(array: A, numbers: readonly number[] = NUMBERS): A {
  numbers.forEach((n, i) => (array[Math.floor(i / 4) * STEP + (i % 4)] = n));
  return array;
}

describe("rows 2³⁰ elements apart", () => {
  const far = tensor(spread(new Float32Array(2 * STEP + 4)), STRIDED, { strides });

  test.each([0, 1])("as input and out of softmax along axis %s, and of logSumExp", (axis) => {
    expect(softmax(far, { axis }).data).toEqual(softmax(NEAR, { axis }).data);
    expect(logSumExp(far, { axis }).data).toEqual(logSumExp(NEAR, { axis }).data);
    const out = tensor(new Float32Array(2 * STEP + 4), STRIDED, { strides });
    softmax(NEAR, { axis, out });
    expect([0, 1, 2].flatMap((row) => [...out.data.subarray(row * STEP, row * STEP + 4)])).toEqual([...softmax(NEAR, { axis }).data]);
  });

  test("of a mask", () => {
    const bytes = [1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0];
    const mask = tensor(spread(new Uint8Array(2 * STEP + 4), bytes), STRIDED, { strides });
    expect(softmax(NEAR, { mask }).data).toEqual(softmax(NEAR, { mask: tensor(Uint8Array.from(bytes), STRIDED) }).data);
  });

  test("of keys and values", () => {
    expect(attention(NEAR, far, far).data).toEqual(attention(NEAR, NEAR, NEAR).data);
  });

  test("in an engine", async () => {
    const engine: Engine = await createEngine({ device: "wasm", threads: 2 });
    const calls = [engine.softmax(far, { axis: 0 }), engine.attention(far, far, far)] as const;
    expect((await calls[0]).data).toEqual(softmax(NEAR, { axis: 0 }).data);
    expect((await calls[1]).data).toEqual(attention(NEAR, NEAR, NEAR).data);
    engine.dispose();
  });
});

test.each(["f32", "f64"] as const)("the last numbers of a memory of 4 GiB, %s", (dtype) => {
  const instance = createInstance();
  const bytes = dtype === "f32" ? 4 : 8;
  const all = instance.empty([(2 ** 32 - 2 * 65536 - 2 ** 20) / bytes], { dtype });
  const last = all.data.subarray(-16).fill(1);
  expect(instance.memory.byteLength).toBe(2 ** 32 - 65536);
  expect([...instance.softmax(last).data]).toEqual(new Array(16).fill(1 / 16));
  instance.softmax(last, { out: last });
  expect([...last]).toEqual(new Array(16).fill(1 / 16));
  expect(() => instance.empty([16])).toThrow("WebAssembly memory cannot grow");
});
