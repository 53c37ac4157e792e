import { expect, test } from "vitest";
import { defaultRuntime } from "../../src/backend/wasm/module/runtime.ts";
import { softmax } from "../../src/index.ts";
import { hostileCalls } from "../support/hostile.ts";
import { thrown } from "../support/thrown.ts";

// Calls with whatever JavaScript has as arguments. ONEPASS_SOAK says how many; best under --max-old-space-size=128, where a leak shows.

const CALLS = Number(process.env["ONEPASS_SOAK"] ?? 20_000);
/** Calls after which the count of errors, and memory, are looked at. */
const ROUND = 10_000;

test("hostile input to every public function: no bare error is thrown, and no memory is kept", { timeout: CALLS + 60_000 }, () => {
  const { memory } = defaultRuntime();
  const used: number[] = [];
  let succeeded = 0;
  for (let made = 0; made < CALLS; made += ROUND) {
    const result = hostileCalls(ROUND, made + 1);
    expect(result.bare).toEqual([]);
    succeeded += result.succeeded;
    used.push(memory.usedBytes);
  }
  expect(new Set(used)).toEqual(new Set([0]));
  expect(succeeded / CALLS).toBeGreaterThan(0.1);
});

test.each([
  [
    "a proxy of a typed array",
    new Proxy(new Float32Array(4), {}),
    '"x" expected a typed array or a tensor with "data" and "shape", got a proxy of Float32Array',
  ],
  [
    "a copy of a kept tensor",
    { shape: [2, 2], dtype: "f32" },
    '"x" expected a typed array or a tensor with "data" and "shape", got Object; copy kept tensors as { ...t, data: t.data }',
  ],
])("%s is refused with what it is", (_, value, message) => {
  expect(thrown(() => softmax(value as never)).message).toBe(message);
});
