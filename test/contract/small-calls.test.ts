import { expect, test } from "vitest";
import { type Instance, createInstance } from "../../src/testing/testing.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { numbers } from "../support/numbers.ts";
import { expectSameBits } from "../support/tolerances.ts";

// Small calls of one form share a plan, one after the other. Whatever came before a call, its result is that of a fresh instance.

type Case = (instance: Instance) => Float32Array | Float64Array;

const A = numbers("normal", 24, 1);
const B = numbers("normal", 24, 2);
const kept = (instance: Instance, data: Float32Array) => {
  const t = instance.empty([4, 6]);
  t.data.set(data);
  return t;
};

const CASES: Readonly<Record<string, Case>> = {
  "an array": (i) => i.softmax(tensor(A, [4, 6])).data,
  "another array": (i) => i.softmax(tensor(B, [4, 6])).data,
  "in place": (i) => {
    const x = A.slice();
    return i.softmax(tensor(x, [4, 6]), { out: x }).data;
  },
  "another shape": (i) => i.softmax(tensor(A, [6, 4])).data,
  "one row": (i) => i.softmax(A).data,
  "another axis": (i) => i.softmax(tensor(A, [4, 6]), { axis: 0 }).data,
  "a scale": (i) => i.softmax(tensor(A, [4, 6]), { scale: 0.5 }).data,
  "another algorithm": (i) => i.softmax(tensor(A, [4, 6]), { algorithm: "safe" }).data,
  "safe, and nothing there": (i) => i.softmax(tensor(new Float32Array(24).fill(-Infinity), [4, 6]), { safe: true }).data,
  "nothing there": (i) => i.softmax(tensor(new Float32Array(24).fill(-Infinity), [4, 6])).data,
  "another operation": (i) => i.logSoftmax(tensor(A, [4, 6])).data,
  "a sum": (i) => i.logSumExp(tensor(A, [4, 6])).data,
  "a sum that keeps dimensions": (i) => i.logSumExp(tensor(B, [4, 6]), { keepDims: true }).data,
  f64: (i) => i.softmax(tensor(Float64Array.from(A), [4, 6])).data,
  "other strides": (i) => i.softmax(tensor(A, [4, 6], { strides: [1, 4] })).data,
  "an output with strides": (i) => {
    const out = tensor(new Float32Array(48), [4, 6], { strides: [12, 2] });
    i.softmax(tensor(A, [4, 6]), { out });
    return out.data;
  },
  "module memory": (i) => i.softmax(kept(i, A)).data,
  "other module memory": (i) => i.softmax(kept(i, B)).data,
  "module memory in place": (i) => {
    const x = kept(i, A);
    return i.softmax(x, { out: x }).data.slice();
  },
  "memory that has grown": (i) => {
    i.empty([1 << 20]);
    return i.softmax(kept(i, B)).data;
  },
  "a bias": (i) => i.softmax(tensor(A, [4, 6]), { bias: numbers("normal", 6, 3) }).data,
  "a mask": (i) => i.softmax(tensor(A, [4, 6]), { mask: Uint8Array.of(1, 0, 1, 1, 0, 1) }).data,
};

test.each(["baseline", "relaxed"] as const)("any call after any other gives its own result, %s", (variant) => {
  const expected = Object.fromEntries(Object.entries(CASES).map(([name, run]) => [name, run(createInstance(variant)).slice()]));
  const instance = createInstance(variant);
  for (const [before, first] of Object.entries(CASES)) {
    for (const [name, run] of Object.entries(CASES)) {
      first(instance);
      const result = run(instance);
      expectSameBits(result, expected[name] ?? expect.fail(name), `${name} after ${before}`);
    }
  }
});
