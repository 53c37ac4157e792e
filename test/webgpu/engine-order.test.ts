import { describe, expect, test } from "vitest";
import { type Tensor, attention, createEngine, softmax, tensor } from "../../src/index.ts";
import { DIVIDED } from "../engine/calibration.ts";
import { findGpu } from "../support/gpu.ts";
import { expectClose } from "../support/tolerances.ts";
import { unavailable } from "../support/variants.ts";

// Calls on the CPU and on the GPU by turns, each over what the one before has written to module memory. What waits for what is tested in
// test/engine/order.test.ts, without a GPU.

const found = await findGpu();

describe("calls of both sides in a row", () => {
  if (found.gpu === undefined) {
    const { reason } = found;
    test("needs a GPU", ({ skip }) => unavailable(skip, reason));
    return;
  }
  const { gpu } = found;

  test.each([1, 2])("%s threads", async (threads) => {
    const engine = await createEngine({ gpu, threads, calibration: DIVIDED });
    const shape = [4, 64, 16];
    const q = tensor(
      Float32Array.from({ length: 4096 }, (_, i) => Math.sin(1 + i * 1.7) * 3),
      shape,
    );
    const [a, b] = [engine.empty(shape, { device: "wasm" }), engine.empty(shape, { device: "wasm" })];
    a.data.set(q.data);
    let expected: Tensor<"f32"> = q;
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 4; i++) {
      calls.push(engine.attention(a, a, a, { out: b }), engine.softmax(b, { scale: 20, out: a }));
      expected = softmax(attention(expected, expected, expected), { scale: 20 });
    }
    const uploaded = await engine.upload(a);
    await Promise.all(calls);
    expectClose(a.data, expected.data, { relative: 1e-3, absolute: 1e-6 });
    expect((await engine.download(uploaded)).data).toEqual(a.data);
    expect(engine.explain("softmax", { x: shape }).device).toBe("webgpu");
    expect(engine.explain("attention", { q: shape, k: shape, v: shape }).device).toBe("wasm");
    engine.dispose();
  });
});
