import { runInNewContext } from "node:vm";
import { expect, test, vi } from "vitest";
import { createEngine, tensor } from "../../src/index.ts";
import { numbersOf } from "../support/numbers.ts";
import { OPS, call } from "../support/operands.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { describeVariants } from "../support/variants.ts";

// Arrays of another realm (a frame, a vm context as in some test runners) are no instances of this one's classes.

describeVariants("arrays of another realm", (instance) => {
  function foreign<A extends Float32Array | Float64Array | Uint8Array>(array: A): A {
    const copy = runInNewContext(`new ${array.constructor.name}(${array.length})`) as A;
    copy.set(array);
    expect(copy instanceof (array.constructor as new () => A)).toBe(false);
    return copy;
  }

  test.each(["f32", "f64"] as const)("%s as input, out and bias", (dtype) => {
    for (const shape of [[3], [70, 66], [2, 1100]]) {
      const count = shape.reduce((n, size) => n * size, 1);
      const x = numbersOf(dtype, "wide", count);
      const bias = numbersOf(dtype, "normal", count, 2);
      for (const op of OPS) {
        for (let axis = 0; axis < shape.length; axis++) {
          const label = `${op} [${shape.join(", ")}] axis ${axis}`;
          const y = call(instance, op, tensor(x, shape), { axis, bias: tensor(bias, shape) }).data;
          const out = foreign(y.slice().fill(7));
          expectSameBits(call(instance, op, tensor(foreign(x), shape), { axis, bias: tensor(foreign(bias), shape) }).data, y, label);
          call(instance, op, tensor(x, shape), { axis, bias: tensor(bias, shape), out });
          expectSameBits(out, y, `${label}, out`);
        }
      }
    }
  });

  test("bytes as mask", () => {
    const x = numbersOf("f32", "normal", 4);
    const mask = new Uint8Array([1, 0, 1, 1]);
    expect(instance.softmax(x, { mask: foreign(mask) }).data).toEqual(instance.softmax(x, { mask }).data);
  });

  test("blocks of OnlineSoftmax", () => {
    const x = numbersOf("f32", "wide", 100);
    expect(instance.onlineSoftmax().push(foreign(x)).logSumExp).toEqual(instance.onlineSoftmax().push(x).logSumExp);
  });

  test("buffers, while the package's own memory is of this realm, as under Jest", async () => {
    for (const name of ["ArrayBuffer", "SharedArrayBuffer", "Float32Array"]) vi.stubGlobal(name, runInNewContext(name));
    try {
      const engine = await createEngine({ device: "wasm", threads: 1, variant: instance.variant });
      const [q, lse] = [engine.empty([2, 2], { device: "wasm" }), engine.empty([2], { device: "wasm" })];
      q.data.set([1, 2, 3, 4]);
      lse.data.set([0, 0]);
      engine.empty([engine.info().wasm.memoryBytes / 4], { device: "wasm" });
      expect([...(await engine.attentionScores(q, q, { stage: "raw", scale: 1 })).data]).toEqual([5, 11, 11, 25]);
      expect([...(await engine.mergeStates([{ out: q, lse }])).out.data]).toEqual([1, 2, 3, 4]);
      engine.dispose();
    } finally {
      vi.unstubAllGlobals();
    }
  });
});
