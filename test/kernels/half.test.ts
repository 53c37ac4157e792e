import { expect, test } from "vitest";
import { fromHalf, toHalf } from "../support/half.ts";
import { describeVariants } from "../support/variants.ts";

// The conversions of storage, on every 16-bit float, and on every f32 that is one, a tie between two, or next to either.

const COUNT = 0x10000;
const all = Uint16Array.from({ length: COUNT }, (_, bits) => bits);
const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

function fromBrain(bits: number): number {
  u32[0] = bits << 16;
  return f32[0] ?? 0;
}

/** The bits of the nearest bf16, ties to even, by comparing the neighbours in f64. */
function toBrain(value: number): number {
  f32[0] = value;
  const below = (u32[0] ?? 0) >>> 16;
  if (Number.isNaN(value)) return below | 0x40;
  if (!Number.isFinite(value)) return below;
  // Infinity counts as the next power of two.
  const magnitude = (bits: number): number => ((bits & 0x7fff) === 0x7f80 ? 2 ** 128 : Math.abs(fromBrain(bits)));
  const [low, high] = [Math.abs(value) - magnitude(below), magnitude(below + 1) - Math.abs(value)];
  return high < low || (high === low && below % 2 === 1) ? below + 1 : below;
}

/** f32 between two neighbours of a 16-bit format: a quarter, half and three quarters of the way, and next to half. */
function between(from: (bits: number) => number): Float32Array {
  const values: number[] = [];
  for (let bits = 0; bits < COUNT - 1; bits++) {
    const [a, b] = [from(bits), from(bits + 1)];
    if (!Number.isFinite(a) || !Number.isFinite(b) || (bits & 0x7fff) === 0x7fff) continue;
    f32[0] = a / 2 + b / 2;
    const middle = u32[0] ?? 0;
    for (const neighbour of [-1, 0, 1]) {
      u32[0] = middle + neighbour;
      values.push(f32[0]);
    }
  }
  return Float32Array.from(
    [...values, 65504, 65519.99, 65520, 65536, 3.3e38, 3.4028234663852886e38, Infinity, NaN, 1e-45, 2 ** -25, 2 ** -24, 2 ** -134].flatMap((x) => [x, -x]),
  );
}

const FORMATS = [
  { name: "f16", from: fromHalf, to: toHalf, toF32: "f32_from_f16", toHalf: "f16_from_f32" },
  { name: "bf16", from: fromBrain, to: toBrain, toF32: "f32_from_bf16", toHalf: "bf16_from_f32" },
] as const;

describeVariants("conversion", ({ kernels, memory }) => {
  const [narrow, wide] = [memory.allocate(1 << 20), memory.allocate(1 << 20)];

  test.each(FORMATS)("all 65,536 values of $name, exactly, there and back", ({ from, to, toF32, toHalf: back }) => {
    new Uint16Array(memory.buffer).set(all, narrow / 2);
    kernels[toF32](narrow, wide, COUNT);
    kernels[back](wide, narrow, COUNT);
    const [values, bits] = [memory.f32.slice(wide / 4, wide / 4 + COUNT), new Uint16Array(memory.buffer, narrow, COUNT)];
    for (let i = 0; i < COUNT; i++) {
      if (!Object.is(values[i], from(i))) expect(values[i], `of the bits ${i}`).toBe(from(i));
      if (Number.isNaN(values[i])) expect(from(bits[i] ?? 0)).toBeNaN();
      else if (bits[i] !== i) expect(bits[i], `of ${values[i]}`).toBe(i);
    }
    expect(to(1)).toBe(bits[to(1)]);
  });

  test.each(FORMATS)("to the nearest $name, ties to even", ({ from, to, toHalf: back }) => {
    const values = between(from);
    for (let start = 0; start < values.length; start += COUNT) {
      const part = values.subarray(start, start + COUNT);
      memory.f32.set(part, wide / 4);
      kernels[back](wide, narrow, part.length);
      const bits = new Uint16Array(memory.buffer, narrow, part.length);
      part.forEach((x, i) => {
        const actual = bits[i] ?? 0;
        if (Number.isNaN(x) ? !Number.isNaN(from(actual)) : actual !== to(x)) expect(actual, `of ${x}`).toBe(to(x));
      });
    }
  });

  test.each(FORMATS)("of any count, $name in the upper half of its f32 and back in place, without touching what is beside", ({ from, toF32, toHalf: back }) => {
    for (let count = 0; count <= 19; count++) {
      memory.f32.fill(7, wide / 4, wide / 4 + 64);
      new Uint16Array(memory.buffer).set(all.subarray(1000, 1000 + count), wide / 2 + 32 + count);
      kernels[toF32](wide + 64 + 2 * count, wide + 64, count);
      const around = memory.f32.slice(wide / 4, wide / 4 + 64);
      expect(Array.from(around)).toEqual(Array.from({ length: 64 }, (_, i) => (i < 16 || i >= 16 + count ? 7 : from(1000 + i - 16))));
      kernels[back](wide + 64, wide + 64, count);
      expect(Array.from(new Uint16Array(memory.buffer, wide + 64, count))).toEqual(Array.from(all.subarray(1000, 1000 + count)));
    }
  });

  test("rows of i8 with their scales", () => {
    for (const cols of [1, 3, 4, 5, 8, 13]) {
      const rows = [1, -2.5, 0, 3e38, 1e-40].map((most, r) => Float32Array.from({ length: cols }, (_, c) => (c === 0 ? most : most * Math.sin(r + c))));
      memory.f32.set(
        rows.flatMap((row) => [...row]),
        wide / 4,
      );
      const scales = narrow + 4096;
      kernels.i8_from_f32(wide, narrow, rows.length, cols, scales);
      const [bytes, s] = [new Int8Array(memory.buffer, narrow, rows.length * cols).slice(), memory.f32.slice(scales / 4, scales / 4 + rows.length)];
      rows.forEach((row, r) => {
        const scale = Math.fround(Math.max(...row.map(Math.abs)) / 127);
        expect(s[r]).toBe(scale);
        row.forEach((x, c) => {
          const exact = scale === 0 ? 0 : Math.fround(x / scale);
          expect(Math.abs((bytes[r * cols + c] ?? NaN) - exact), `${x} in row ${r}`).toBeLessThanOrEqual(0.5);
        });
      });
      // From the last quarter of the result.
      const end = wide + 4 * rows.length * cols;
      new Int8Array(memory.buffer).set(bytes, end - bytes.length);
      kernels.f32_from_i8(end - bytes.length, wide, rows.length, cols, scales);
      const back = memory.f32.slice(wide / 4, wide / 4 + bytes.length);
      bytes.forEach((x, i) => expect(back[i]).toBe(Math.fround(x * (s[Math.floor(i / cols)] ?? NaN)) + 0));
    }
  });

  test("a row of i8 with NaN or infinity has a scale that says so", () => {
    for (const bad of [NaN, Infinity, -Infinity]) {
      memory.f32.set([1, bad, 2], wide / 4);
      kernels.i8_from_f32(wide, narrow, 1, 3, narrow + 64);
      expect(Number.isFinite(memory.f32[(narrow + 64) / 4])).toBe(false);
    }
  });
});
