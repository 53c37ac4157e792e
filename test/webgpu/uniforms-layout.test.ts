import { describe, expect, test } from "vitest";
import { type FieldType, uniformBlock } from "../../src/backend/webgpu/device/uniforms.ts";
import { unavailable } from "../support/variants.ts";
import { type Job, execute, openOn, someGpu } from "./toy.ts";

describe("uniform block", () => {
  test("writes WGSL and bytes from one list", () => {
    const block = uniformBlock("Sizes", { rows: "u32", shift: "i32", strides: { array: "vec4<u32>", length: 2 }, scale: "f32" });
    expect(block.wgsl).toBe("struct Sizes {\n  rows: u32,\n  shift: i32,\n  strides: array<vec4<u32>, 2>,\n  scale: f32,\n}\n");
    expect(block.byteLength).toBe(64);
    const bytes = block.pack({ rows: 7, shift: -3, strides: [1, 2, 3, 4, 5], scale: 0.5 });
    expect([...new Uint32Array(bytes)]).toEqual([7, 0xfffffffd, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0x3f000000, 0, 0, 0]);
  });

  test("refuses numbers that would wrap, be cut, or not fit", () => {
    const block = uniformBlock("Sizes", { rows: "u32", shift: "i32", strides: { array: "vec4<u32>", length: 1 } });
    const good = { rows: 1, shift: 1, strides: [] };
    expect(() => block.pack({ ...good, rows: 2 ** 32 })).toThrow('uniform "Sizes.rows" expected u32, got 4294967296');
    expect(() => block.pack({ ...good, rows: -1 })).toThrow(RangeError);
    expect(() => block.pack({ ...good, rows: 1.5 })).toThrow(RangeError);
    expect(() => block.pack({ ...good, shift: 2 ** 31 })).toThrow('uniform "Sizes.shift" expected i32, got 2147483648');
    expect(() => block.pack({ ...good, strides: [1, 2, 3, 4, 5] })).toThrow('uniform "Sizes.strides" holds 4 numbers, got 5');
  });

  test("takes floats of every kind", () => {
    const block = uniformBlock("F", { a: "f32", b: "f32", c: "f32" });
    expect([...new Uint32Array(block.pack({ a: -Infinity, b: NaN, c: -0 }))].slice(0, 3)).toEqual([0xff800000, 0x7fc00000, 0x80000000]);
  });
});

/** Structs whose arrays stand first, last, in the middle, alone, and next to each other. */
const SHAPES: Record<string, Record<string, FieldType>> = {
  "scalars, array, scalar": { a: "u32", b: "f32", c: "i32", d: { array: "vec4<i32>", length: 2 }, e: "u32" },
  "array, scalars, array, array": {
    a: { array: "vec4<u32>", length: 1 },
    b: "i32",
    c: "f32",
    d: "u32",
    e: "u32",
    f: "f32",
    g: { array: "vec4<f32>", length: 3 },
    h: { array: "vec4<u32>", length: 1 },
  },
  "one scalar": { a: "f32" },
};

const gpu = await someGpu();

describe("a shader reads every uniform as it was packed", () => {
  for (const [title, fields] of Object.entries(SHAPES)) {
    test(title, async ({ skip }) => {
      if (typeof gpu === "string") {
        unavailable(skip, gpu);
        return;
      }
      const backend = await openOn(gpu);
      const block = uniformBlock("Block", fields);
      // Every number is different, so that one read from another's place is seen.
      let next = 1;
      const values: Record<string, number | number[]> = {};
      const reads: string[] = [];
      for (const [key, type] of Object.entries(fields)) {
        if (typeof type === "string") {
          values[key] = type === "i32" ? -next++ : type === "f32" ? next++ + 0.25 : next++;
          reads.push(`f32(u.${key})`);
          continue;
        }
        const [count, signed] = [type.length * 4, type.array === "vec4<i32>"];
        values[key] = Array.from({ length: count }, () => (signed ? -next++ : next++));
        for (let i = 0; i < count; i++) reads.push(`f32(u.${key}[${Math.floor(i / 4)}][${i % 4}])`);
      }
      const wgsl = `${block.wgsl}
@group(0) @binding(0) var<uniform> u: Block;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() {
${reads.map((read, i) => `  y[${i}] = ${read};`).join("\n")}
}`;
      const job: Job = {
        operands: [],
        results: [{ shape: [reads.length] }],
        record: (recorder, slices) =>
          recorder.run({ name: title, wgsl, bindings: ["uniform", "write"], features: [] }, block.pack(values as never), slices, [1, 1, 1]),
      };
      const [result] = await execute(backend, job);
      expect(Array.from((result as { data: Float32Array }).data)).toEqual(Object.values(values).flat());
      backend.dispose();
    });
  }
});
