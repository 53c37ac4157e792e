import { afterAll, describe, expect, expectTypeOf, test } from "vitest";
import { type CrossEntropyResult, type Tensor, createEngine, crossEntropy, sample, tensor, topK, topKSoftmax } from "../../src/index.ts";
import { numbers } from "../support/numbers.ts";
import { READ_BACK, nullDevice } from "./null-gpu.ts";

// The engine's methods for sampling: the plain functions' results, on the CPU whatever the device.

const logits = tensor(numbers("normal", 6 * 50), [6, 50]);
const targets = [1, 2, 3, 4, 5, -100];

describe("on the CPU", async () => {
  const engine = await createEngine({ device: "wasm", threads: 2 });
  afterAll(() => engine.dispose());

  test("methods give what the functions give", async () => {
    expect(await engine.topK(logits, 3)).toEqual(topK(logits, 3));
    expect(await engine.topKSoftmax(logits, 3, { scale: 2 })).toEqual(topKSoftmax(logits, 3, { scale: 2 }));
    expect(await engine.sample(logits, { topP: 0.9, seed: 3 })).toEqual(sample(logits, { topP: 0.9, seed: 3 }));
    const loss = await engine.crossEntropy(logits, targets);
    expect(loss).toEqual(crossEntropy(logits, targets));
    const both = await engine.crossEntropy(logits, targets, { returnGrad: true });
    expect(both).toEqual(crossEntropy(logits, targets, { returnGrad: true }));
    expectTypeOf(loss).toEqualTypeOf<Tensor<"f32">>();
    expectTypeOf(both).toEqualTypeOf<CrossEntropyResult>();
  });

  test("arrays are read before the promise is returned, and a signal cancels", async () => {
    const x = tensor(logits.data.slice(), [6, 50]);
    const pending = engine.sample(x, { seed: 3 });
    x.data.fill(0);
    expect(await pending).toEqual(sample(logits, { seed: 3 }));
    await expect(engine.sample(logits, { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
  });

  test("explain says that it runs here, also for shapes alone", () => {
    for (const [op, options] of [
      ["topKSoftmax", { k: 3 }],
      ["sample", { topK: 3 }],
      ["crossEntropy", {}],
    ] as const) {
      expect(engine.explain(op, { logits: [32, 1000] }, options)).toMatchObject({ device: "wasm", kernel: "sampling" });
    }
    expect(engine.explain("topK", { x: [3, 5] }, { k: 5 }).kernel).toBe("sampling");
    expect(() => engine.explain("topK", { x: [3, 5] }, { k: 6 })).toThrow('"k" expected an integer from 1 to 5, got 6');
  });
});

describe("with a GPU", () => {
  test("logits there are downloaded in one copy, and explain says so", async () => {
    const { device } = await nullDevice();
    const engine = await createEngine({ device: "webgpu", gpu: device });
    const onGpu = await engine.upload(logits);
    // This device computes nothing; what it sends back is a constant.
    const { values, indices } = await engine.topK(onGpu, 2);
    expect(values.data).toEqual(new Float32Array(12).fill(READ_BACK));
    expect([...indices.data.slice(0, 4)]).toEqual([0, 1, 0, 1]);
    const kept = engine.empty([6], { device: "wasm" });
    await engine.topKSoftmax(onGpu, 1, { out: { logProbs: tensor(kept.data, [6, 1]) } });
    expect(kept.data[5]).toBeCloseTo(-Math.log(50), 6);
    expect(await engine.sample(logits, { seed: 1 })).toEqual(sample(logits, { seed: 1 }));
    expect(engine.explain("sample", { logits: [6, 50] }).reason).toBe("wasm: sampling runs on the CPU");
    expect(engine.explain("sample", { logits: [6, 50] }, { place: "gpu" }).reason).toBe(
      'wasm: sampling runs on the CPU; "logits" is in a GPU buffer, and is downloaded in one copy',
    );
    engine.dispose();
  });

  test("an engine without one refuses them", async () => {
    const engine = await createEngine({ device: "wasm" });
    const { device } = await nullDevice();
    const buffer = device.createBuffer({ size: 16, usage: 4 });
    await expect(engine.topK({ buffer, shape: [4], dtype: "f32" }, 1)).rejects.toThrow('"x" is in a GPU buffer; the engine was created with device "wasm"');
    engine.dispose();
  });
});
