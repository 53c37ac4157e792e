import { expect, test, vi } from "vitest";
import { ATTENTION } from "../../src/backend/wasm/module/attention-family.ts";
import { FAMILIES, loadAll } from "../../src/backend/wasm/module/families.ts";
import { binaryOf } from "../../src/backend/wasm/module/family.ts";
import { ModuleMemory } from "../../src/backend/wasm/module/memory.ts";
import { ROWS } from "../../src/backend/wasm/module/rows-family.ts";
import { type ModuleOf, Runtime, createRuntime } from "../../src/backend/wasm/module/runtime.ts";
import { compute } from "../../src/backend/wasm/drivers/compute.ts";
import { planAttention } from "../../src/backend/wasm/plans/attention.ts";
import { planRows } from "../../src/backend/wasm/plans/rows.ts";
import { attention, parseAttention } from "../../src/ops/attention.ts";
import { parseSoftmax, softmax } from "../../src/ops/softmax.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { numbers } from "../support/numbers.ts";
import { expectSameBits } from "../support/tolerances.ts";
import { wholeBinary } from "../support/whole-binary.ts";

// Families of kernels over one memory: loaded when first needed, and without effect on each other.

const x = { data: numbers("normal", 12 * 40), shape: [12, 40], dtype: "f32" as const };
const heads = { ...x, shape: [2, 6, 40] };

test("a family is loaded by the first call that needs it, once", () => {
  const moduleOf = vi.fn<ModuleOf>((family) => new WebAssembly.Module(binaryOf(family, "baseline")));
  const runtime = new Runtime("baseline", new ModuleMemory(), moduleOf);
  expect(runtime.instances.size).toBe(0);
  compute(runtime, planRows, parseSoftmax(x));
  compute(runtime, planRows, parseSoftmax(x));
  expect(moduleOf.mock.calls).toEqual([[ROWS]]);
  compute(runtime, planAttention, parseAttention(heads, heads, heads));
  compute(runtime, planAttention, parseAttention(heads, heads, heads));
  expect(moduleOf.mock.calls).toEqual([[ROWS], [ATTENTION]]);
  expect(runtime.load(ROWS)).toBe(runtime.load(ROWS));
  expect(runtime.instances.size).toBe(2);
});

test("a family that is loaded later leaves the others as they are", () => {
  for (const order of [
    [0, 1],
    [1, 0],
  ] as const) {
    const runtime = createRuntime();
    const calls = [
      () => expectSameBits(compute(runtime, planRows, parseSoftmax(x)).data, softmax(x).data),
      () => expectSameBits((compute(runtime, planAttention, parseAttention(heads, heads, heads)) as Tensor<"f32">).data, attention(heads, heads, heads).data),
    ];
    for (const i of [...order, ...order]) calls[i]?.();
  }
});

test("one instance of a whole binary serves all families", () => {
  const module = new WebAssembly.Module(wholeBinary("baseline"));
  const runtime = loadAll(new Runtime("baseline", new ModuleMemory(), () => module));
  expect([...runtime.instances.keys()]).toEqual([module]);
  expect(new Set(FAMILIES.map((family) => runtime.load(family))).size).toBe(1);
  expect(runtime.load(ROWS).softmax_online_f32).toBeTypeOf("function");
  expect(runtime.load(ATTENTION).attention_block_f32).toBeTypeOf("function");
});
