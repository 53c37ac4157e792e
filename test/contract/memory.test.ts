import { ArrayHandle } from "../../src/tensor/array.ts";
import { describe, expect, test } from "vitest";
import { BackendError, DisposedError, tensor } from "../../src/index.ts";
import { createInstance, type Instance } from "../../src/testing/testing.ts";
import { ModuleMemory } from "../../src/backend/wasm/module/memory.ts";
import { maskBytes, numbers, random } from "../support/numbers.ts";
import { thrown } from "../support/thrown.ts";
import { describeVariants } from "../support/variants.ts";

/** Makes growth fail, as it does when the machine has no memory left. Returns what undoes it. */
function refuseGrowth(memory: ModuleMemory): () => void {
  Object.defineProperty(memory.memory, "grow", { configurable: true, value: () => { throw new RangeError("no memory"); } }); // prettier-ignore
  return () => {
    delete (memory.memory as { grow?: unknown }).grow;
  };
}

describeVariants("memory", (_, variant) => {
  /** One call of each kind, of changing small shapes; `i` says which. */
  function mixedCalls(instance: Instance): (i: number) => void {
    const small = Array.from({ length: 64 }, (_, n) => numbers("normal", n + 1));
    const outs = small.map((x) => x.slice());
    const matrix = tensor(numbers("normal", 600), [30, 20]);
    const bias = numbers("normal", 20);
    const mask = maskBytes(20);
    const f64 = Float64Array.from(numbers("normal", 24));
    const kept = instance.empty([8, 8]);
    kept.data.fill(1);
    const state = instance.onlineSoftmax();
    return (i) => {
      const n = i % 64;
      const x = small[n] ?? bias;
      const out = outs[n] ?? bias;
      switch (i % 32) {
        case 0:
          instance.softmax(matrix, { axis: 0 });
          return;
        case 1:
          instance.logSoftmax(matrix, { bias, mask, scale: 0.5, safe: true });
          return;
        case 2:
          instance.logSumExp(matrix, { axis: [0, 1] });
          return;
        case 3:
          instance.softmax(f64, { out: f64 });
          return;
        case 4:
          state.push(x);
          return;
        case 5:
          instance.softmax(kept, { out: kept, axis: 0 });
          return;
        case 6: {
          const made = instance.empty([n + 1]);
          made.data.set(x);
          instance.softmax(made, { out: made });
          made.dispose();
          return;
        }
        case 7:
          if (!(thrown(() => instance.softmax(x, { axis: 5 })) instanceof RangeError)) expect.fail("another error was thrown");
          return;
        default:
          instance.softmax(x, { out });
      }
    };
  }

  test("a million calls of mixed shapes leave it where it was after the first hundred", () => {
    const instance = createInstance(variant);
    const call = mixedCalls(instance);
    const large = tensor(numbers("normal", 2_000_000), [1000, 2000]);
    instance.softmax(large, { axis: 0 });
    instance.softmax(tensor(large.data, [2_000_000]), { bias: large.data, mask: new Uint8Array(2_000_000).fill(1) });
    for (let i = 2; i < 100; i++) call(i);
    const before = [instance.memory.byteLength, instance.memory.usedBytes];
    for (let i = 100; i < 1_000_000; i++) call(i);
    instance.softmax(large, { axis: 0 });
    expect([instance.memory.byteLength, instance.memory.usedBytes]).toEqual(before);
  });

  test("scratch does not grow with the number of rows", () => {
    const instance = createInstance(variant);
    const before = instance.memory.byteLength;
    const x = numbers("normal", 2_000_000);
    instance.softmax(tensor(x, [100_000, 20]));
    instance.softmax(tensor(x, [20, 100_000]), { axis: 0 });
    instance.logSumExp(tensor(x, [2000, 1000]), { bias: tensor(x, [2000, 1000]) });
    expect(instance.memory.byteLength).toBe(before);
  });

  test("a tensor keeps its numbers and its place when memory grows", () => {
    const instance = createInstance(variant);
    const kept = instance.empty([3]);
    kept.data.set([1, 2, 3]);
    const view = kept.data;
    const before = instance.memory.byteLength;
    const large = instance.empty([before]);
    expect(instance.memory.byteLength).toBeGreaterThan(before);
    expect(view.length, "views from before are detached").toBe(0);
    expect([...kept.data]).toEqual([1, 2, 3]);
    large.dispose();
  });

  test("a call that runs out of memory throws BackendError and leaves all as it was", () => {
    const instance = createInstance(variant);
    const { memory } = instance;
    const x = numbers("normal", 3_000_000);
    const out = new Float32Array(3_000_000).fill(7);
    const state = [memory.byteLength, memory.usedBytes];
    const restore = refuseGrowth(memory);
    for (const run of [
      () => instance.softmax(x, { out }),
      () => instance.softmax(x, { out, bias: x }),
      () => instance.logSoftmax(tensor(x, [3_000_000, 1]), { axis: 0, out }),
      () => instance.softmax(tensor(x, [30_000, 100]), { axis: 0, out }),
      () => instance.empty([3_000_000]),
    ]) {
      expect(run).toThrow(BackendError);
      expect(run).toThrow(/^WebAssembly memory cannot grow/);
      expect([memory.byteLength, memory.usedBytes]).toEqual(state);
    }
    expect(out.every((v) => v === 7)).toBe(true);
    // Small calls go on working, and large ones do again when there is memory.
    expect([...instance.softmax(new Float32Array(2)).data]).toEqual([0.5, 0.5]);
    restore();
    instance.softmax(x, { out });
    expect(out[0]).toBeLessThan(1);
  });

  test("dispose gives memory back, twice is once, and use afterwards throws", () => {
    const instance = createInstance(variant);
    const before = instance.memory.usedBytes;
    const a = instance.empty([1000]);
    const b = instance.empty([1000], { dtype: "f64" });
    expect(instance.memory.usedBytes).toBeGreaterThanOrEqual(before + 12_000);
    a.dispose();
    a.dispose();
    b[Symbol.dispose]();
    expect(instance.memory.usedBytes).toBe(before);
    expect(() => a.data).toThrow(DisposedError);
    expect(() => b.data).toThrow(/disposed/);
  });

  test("empty shapes and scalars have a place of their own", () => {
    const instance = createInstance(variant);
    const [scalar, nothing] = [instance.empty([]), instance.empty([0, 3])];
    scalar.data[0] = 5;
    expect([...instance.softmax(scalar).data]).toEqual([1]);
    expect(instance.softmax(nothing).data.length).toBe(0);
    nothing.dispose();
    scalar.dispose();
    expect(instance.memory.usedBytes).toBe(0);
  });
});

describe("the allocator", () => {
  test("never gives out memory twice, and all of it comes back, whatever the order", () => {
    const memory = new ModuleMemory();
    const next = random(11);
    const held = new Map<number, number>();
    for (let i = 0; i < 20_000; i++) {
      if (held.size > 0 && next() < 0.5) {
        const addresses = [...held.keys()];
        const address = addresses[Math.floor(next() * addresses.length)] ?? 0;
        memory.free(address);
        held.delete(address);
      } else if (held.size < 40) {
        const bytes = Math.floor(next() ** 3 * 100_000);
        const address = memory.allocate(bytes);
        if (address % 64 !== 0 || address + bytes > memory.byteLength) expect.fail(`${bytes} bytes at ${address}`);
        for (const [other, size] of held)
          if (address < other + Math.max(size, 1) && other < address + Math.max(bytes, 1)) expect.fail(`${address} lies in ${other}`);
        held.set(address, bytes);
      }
    }
    expect(memory.usedBytes).toBeGreaterThan(0);
    for (const address of held.keys()) memory.free(address);
    expect(memory.usedBytes).toBe(0);
    // All pieces have joined: as much as there ever was is there in one piece.
    const before = memory.byteLength;
    const start = memory.allocate(64);
    memory.free(start);
    memory.allocate(before - start);
    expect(memory.byteLength).toBe(before);
  });

  test.each([
    ["first to last", [0, 1, 2, 3]],
    ["last to first", [3, 2, 1, 0]],
    ["the middle last", [0, 3, 1, 2]],
    ["every other first", [0, 2, 1, 3]],
    ["every other first, from the other side", [1, 3, 0, 2]],
  ])("joins neighbours freed %s", (_, order) => {
    const memory = new ModuleMemory();
    const addresses = [1000, 2000, 3000, 4000].map((bytes) => memory.allocate(bytes));
    const size = memory.byteLength;
    for (const i of order) memory.free(addresses[i] ?? 0);
    expect(memory.usedBytes).toBe(0);
    expect(memory.allocate(10_000)).toBe(addresses[0]);
    expect(memory.byteLength).toBe(size);
  });

  test("uses a hole that fits before it grows", () => {
    const memory = new ModuleMemory();
    const [a, b, c] = [memory.allocate(5000), memory.allocate(5000), memory.allocate(60_000)];
    memory.free(b);
    expect(memory.allocate(4000)).toBe(b);
    const size = memory.byteLength;
    expect(memory.allocate(900)).toBeGreaterThan(b);
    expect(memory.byteLength).toBe(size);
    expect(a).toBeLessThan(c);
  });

  test("what is not held cannot be freed", () => {
    const memory = new ModuleMemory();
    const address = memory.allocate(100);
    memory.free(address);
    expect(() => memory.free(address)).toThrow(DisposedError);
    expect(() => memory.free(12345)).toThrow(DisposedError);
  });

  test("when memory cannot grow nothing has changed, and what is free can still be had", () => {
    const memory = new ModuleMemory();
    const a = memory.allocate(100_000);
    const b = memory.allocate(100);
    memory.free(a);
    const state = (): unknown => [memory.byteLength, memory.usedBytes, memory.f32.length];
    const before = state();
    const restore = refuseGrowth(memory);
    for (const bytes of [200_000, 1e9, 1e12]) expect(() => memory.allocate(bytes)).toThrow(BackendError);
    expect(state()).toEqual(before);
    expect(memory.allocate(100_000)).toBe(a);
    restore();
    expect(memory.allocate(200_000)).toBeGreaterThan(b);
  });

  test("more than 4 GB is refused by the real memory too", () => {
    const memory = new ModuleMemory();
    const before = memory.byteLength;
    expect(() => memory.allocate(2 ** 32)).toThrow(BackendError);
    expect(() => memory.allocate(2 ** 53)).toThrow(BackendError);
    expect(memory.byteLength).toBe(before);
  });

  test("scratch nests, and what the arena cannot hold is borrowed until release", () => {
    const memory = new ModuleMemory();
    const outer = memory.mark();
    const first = memory.take(100);
    const inner = memory.mark();
    const second = memory.take(100);
    expect(second).toBeGreaterThanOrEqual(first + 100);
    const borrowed = memory.take(10_000_000);
    expect(memory.usedBytes).toBeGreaterThanOrEqual(10_000_000);
    expect(borrowed + 10_000_000).toBeLessThanOrEqual(memory.byteLength);
    memory.release(inner);
    expect(memory.usedBytes).toBe(0);
    expect(memory.take(100)).toBe(second);
    memory.release(outer);
    expect(memory.take(100)).toBe(first);
  });

  test("growth renews the views", () => {
    const memory = new ModuleMemory();
    memory.f32[100_000] = 5;
    memory.allocate(10_000_000);
    expect(memory.f32[100_000]).toBe(5);
    expect([memory.f32.byteLength, memory.f64.byteLength, memory.u8.byteLength]).toEqual(new Array(3).fill(memory.byteLength));
  });

  test("an array in it is found by its address, also after growth", () => {
    const memory = new ModuleMemory();
    const inside = ArrayHandle.of(memory.f32.subarray(25, 27), "f32");
    memory.allocate(10_000_000);
    memory.f32[26] = 7;
    expect([inside.place, inside.addressIn(memory), [...(inside.view() as Float32Array)]]).toEqual(["module", 100, [0, 7]]);
    expect(inside.addressIn(new ModuleMemory())).toBe(-1);
    const outside = ArrayHandle.of(new Float32Array(1), "f32");
    expect([outside.place, outside.addressIn(memory)]).toEqual(["host", -1]);
  });
});
