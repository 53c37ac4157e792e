import { describe, expect, test } from "vitest";
import type { RowCall } from "../../src/calls/row-call.ts";
import { type RowCase, AXIS_CASES, BROADCAST_CASES, EMPTY_CASES, REDUCTION_CASES, SIZE_CASES } from "../cases/rows.ts";
import { countOf, offsetsOf } from "../reference/indices.ts";
import * as reference from "../reference/rows.ts";
import { byName } from "../support/by-name.ts";
import { ALL_KINDS, STANDARD_KINDS, maskBytes, numbers } from "../support/numbers.ts";
import { type Op, expectClose, gpuTolerance } from "../support/tolerances.ts";
import { unavailable } from "../support/variants.ts";
import { OPS, expected } from "../support/operands.ts";
import { PARSERS, type RowDevice, fromHalf, requestRowDevice, toHalf } from "./rows-device.ts";

/** The first run of a shader compiles it: half a minute on a software driver and a busy machine. */
const COMPILING = 300_000;

const found = [
  { name: "through workgroup memory", device: await requestRowDevice(false) },
  { name: "by subgroups", device: await requestRowDevice(true) },
];

/** Lengths where lanes, chunks, segments and their merging change: by vectors (multiples of 4) and one by one. */
const EDGES = [
  36, 60, 68, 124, 128, 132, 250, 252, 260, 508, 512, 516, 2044, 2049, 4096, 4099, 8188, 8192, 8193, 8196, 32764, 32767, 32768, 32769, 32772, 65537,
];
/** The same across memory. */
const EDGES_ACROSS = [31, 33, 65, 127, 128, 129, 511, 513, 2047, 2048, 2049, 2560, 2561, 4100];

const LONG_CASES: readonly RowCase[] = [
  ...EDGES.flatMap((n) =>
    [n, n > 30000 ? 0 : 5].filter(Boolean).map((rows) => ({ name: `${rows === n ? 1 : rows} rows of ${n}`, shape: rows === n ? [n] : [rows, n], axis: -1 })),
  ),
  ...EDGES_ACROSS.map((n) => ({ name: `${n} rows, reduced`, shape: [n, 19], axis: 0 })),
];

for (const { name, device } of found) {
  describe(name, () => {
    if (typeof device === "string") test("needs a GPU", ({ skip }) => unavailable(skip, device));
    else suite(device);
  });
}

function suite(gpu: RowDevice): void {
  test("compiles", { timeout: COMPILING }, async () => {
    await run(gpu, "softmax", new Float32Array(64), [64], {});
    await run(gpu, "softmax", new Float32Array(63), [63], {});
    // Whole, partial and finish, with and without modifiers, are one shader; vectors need another.
    expect(gpu.compiled).toBe(2);
  });

  describe.each(byName([...SIZE_CASES, ...AXIS_CASES, ...LONG_CASES]))("%s", (_, { shape, axis }) => {
    test.each(OPS)("%s", async (op) => {
      const x = numbers("normal", countOf(shape));
      expectClose(await run(gpu, op, x, shape, { axis }), expected(op, x, shape, { axis }), gpuTolerance(op));
    });
  });

  describe.each(ALL_KINDS)("%s numbers", (kind) => {
    test.each(OPS)("%s", async (op) => {
      for (const n of [1, 3, 4, 17, 64, 255, 1000, 5000, 33000]) {
        const shape = [n > 5000 ? 1 : 5, n];
        const x = numbers(kind, countOf(shape));
        expectClose(await run(gpu, op, x, shape, { safe: true }), expected(op, x, shape, { axis: 1, safe: true }), gpuTolerance(op), `${n}`);
      }
    });
  });

  test.each(STANDARD_KINDS)("standard softmax of %s numbers", async (kind) => {
    for (const n of [1, 3, 4, 17, 64, 1000, 9000, 40000]) {
      const x = numbers(kind, 2 * n);
      expectClose(
        await run(gpu, "softmax", x, [2, n], { algorithm: "standard" }),
        expected("softmax", x, [2, n], { axis: 1 }),
        gpuTolerance("softmax"),
        `${n}`,
      );
    }
  });

  test("standard softmax subtracts no max: it holds to 88.7 and overflows above, and vanishes below −87.4", async () => {
    const near = await run(gpu, "softmax", Float32Array.of(88.7, 80, 0, -40), [4], { algorithm: "standard" });
    expectClose(near, reference.softmax({ values: Float32Array.of(88.7, 80, 0, -40), shape: [4] }, { axes: [0] }), gpuTolerance("softmax", 88.7));
    for (const n of [3, 4, 9000, 40000]) {
      expect((await run(gpu, "softmax", new Float32Array(n).fill(100), [n], { algorithm: "standard" })).every(Number.isNaN)).toBe(true);
      expect((await run(gpu, "softmax", new Float32Array(n).fill(-100), [n], { algorithm: "standard" })).every(Number.isNaN)).toBe(true);
      expect((await run(gpu, "softmax", new Float32Array(n).fill(-100), [n], { algorithm: "standard", safe: true })).every((p) => p === 0)).toBe(true);
    }
  });

  describe("scale, bias and mask", () => {
    const cases = BROADCAST_CASES.filter(({ shape }) => countOf(shape) < 1e5);
    test.each(byName(cases))("%s", async (_, { shape, axis, operand }) => {
      const x = numbers("normal", countOf(shape));
      const bias = numbers("normal", countOf(operand), 2);
      const mask = maskBytes(countOf(operand), 3);
      const options = { axis, scale: 0.7, bias: { data: bias, shape: operand }, mask: { data: mask, shape: operand }, safe: true };
      const wanted = { axis, scale: Math.fround(0.7), bias: { values: bias, shape: operand }, mask: { values: mask, shape: operand }, safe: true };
      for (const op of OPS) {
        expectClose(await run(gpu, op, x, shape, options), expected(op, x, shape, wanted), gpuTolerance(op, 20), op);
        expectClose(
          await run(gpu, op, x, shape, { ...options, bias: undefined }),
          expected(op, x, shape, { ...wanted, bias: undefined }),
          gpuTolerance(op, 12),
          op,
        );
        expectClose(
          await run(gpu, op, x, shape, { ...options, mask: undefined }),
          expected(op, x, shape, { ...wanted, mask: undefined }),
          gpuTolerance(op, 20),
          op,
        );
      }
    });

    test("long rows", async () => {
      for (const n of [33000, 40001]) {
        const x = numbers("normal", 2 * n);
        const bias = numbers("holes", n, 2);
        const mask = maskBytes(2 * n, 3);
        const wanted = { axis: 1, scale: -0.5, bias: { values: bias, shape: [n] }, mask: { values: mask, shape: [2, n] } };
        const options = { scale: -0.5, bias, mask: { data: mask, shape: [2, n] } };
        for (const op of OPS) expectClose(await run(gpu, op, x, [2, n], options), expected(op, x, [2, n], wanted), gpuTolerance(op, 20), op);
      }
    });

    test("what the mask removes is not looked at, NaN and +inf included", async () => {
      for (const n of [2, 5, 64, 1025, 40000]) {
        const x = numbers("normal", n);
        const bias = new Float32Array(n);
        const mask = new Uint8Array(n).fill(2);
        mask[0] = mask[n - 1] = 0;
        const clean = await run(gpu, "softmax", x, [n], { mask, bias, safe: true });
        [x[0], x[n - 1], bias[0]] = [NaN, Infinity, NaN];
        expect(await run(gpu, "softmax", x, [n], { mask, bias, safe: true })).toEqual(clean);
      }
    });
  });

  describe("rows that see nothing", () => {
    test.each([1, 2, 3, 4, 64, 255, 1000, 8192, 9000, 33000, 40000])("%d columns", async (n) => {
      // The second row sees its last element alone.
      const x = new Float32Array(2 * n).fill(-Infinity);
      x[2 * n - 1] = -3;
      const last = (value: number, other: number): number[] => [...new Array<number>(n - 1).fill(other), value];
      const check = async (op: Op, safe: boolean, empty: number, row: readonly number[], options: object): Promise<void> => {
        const result = await run(gpu, op, x, [2, n], { safe, ...options });
        expectClose(result, [...(op === "logSumExp" ? [empty] : new Array<number>(n).fill(empty)), ...row], gpuTolerance(op), `${op} ${safe}`);
      };
      // Once by −inf, once by a mask over finite numbers.
      for (const options of [{}, { mask: { data: Uint8Array.from(x, (v) => Number(v > -Infinity)), shape: [2, n] } }]) {
        await check("softmax", false, NaN, last(1, 0), options);
        await check("softmax", true, 0, last(1, 0), options);
        await check("logSoftmax", false, NaN, last(0, -Infinity), options);
        await check("logSoftmax", true, -Infinity, last(0, -Infinity), options);
        await check("logSumExp", false, -Infinity, [-3], options);
        x.fill(7, 0, 2 * n - 1);
      }
    });

    test("a bias of −inf masks; the lowest finite one does not", async () => {
      const lowest = -3.4028234663852886e38;
      for (const n of [3, 64, 5000, 40000]) {
        const x = numbers("normal", n);
        const finite = await run(gpu, "softmax", x, [n], { bias: new Float32Array(n).fill(lowest) });
        // All scores round to the same number.
        expectClose(finite, new Float32Array(n).fill(1 / n), gpuTolerance("softmax"), `${n}`);
        const sum = await run(gpu, "logSumExp", x, [n], { bias: new Float32Array(n).fill(lowest) });
        expect((sum[0] ?? 0) / lowest).toBeCloseTo(1, 6);
        const masked = await run(gpu, "softmax", x, [n], { bias: new Float32Array(n).fill(-Infinity), safe: true });
        expect(masked.every((p) => p === 0)).toBe(true);
        // Beside anything else it is as good as masked, however large the other number.
        const bias = new Float32Array(n).fill(lowest);
        bias[n - 1] = 3e38;
        expect([...(await run(gpu, "softmax", x, [n], { bias }))]).toEqual([...new Array<number>(n - 1).fill(0), 1]);
      }
    });
  });

  test.each(byName(REDUCTION_CASES))("logSumExp %s", async (_, { shape, axes }) => {
    const x = numbers("normal", countOf(shape));
    const rank = shape.length;
    const distinct = axes.map((axis) => (axis < 0 ? axis + rank : axis)).filter((axis) => axis < rank);
    const wanted = reference.logSumExp({ values: x, shape }, { axes: distinct });
    for (const keepDims of [false, true]) {
      expectClose(await gpu.run(PARSERS.logSumExp({ data: x, shape }, { axis: [...axes], keepDims })), wanted, gpuTolerance("logSumExp"));
    }
  });

  test("several axes with bias and mask", async () => {
    const shape = [3, 5, 7, 6];
    const x = numbers("normal", countOf(shape));
    for (const operand of [[7, 1], [5, 1, 6], [3, 1, 1, 6], shape]) {
      const [bias, mask] = [numbers("normal", countOf(operand), 2), maskBytes(countOf(operand))];
      const call = PARSERS.logSumExp(
        { data: x, shape },
        { axis: [0, 2], scale: 2, bias: { data: bias, shape: operand }, mask: { data: mask, shape: operand } },
      );
      const wanted = { axes: [0, 2], scale: 2, bias: { values: bias, shape: operand }, mask: { values: mask, shape: operand } };
      expectClose(await gpu.run(call), reference.logSumExp({ values: x, shape }, wanted), gpuTolerance("logSumExp", 30));
    }
  });

  test.each(byName(EMPTY_CASES))("%s", async (_, { shape, axis }) => {
    for (const op of OPS) expectClose(await run(gpu, op, new Float32Array(0), shape, { axis }), expected(op, [], shape, { axis }), gpuTolerance(op), op);
  });

  test("inputs with strides, and rows that repeat", async () => {
    const shape = [3, 4, 40];
    for (const strides of [
      [4, 1, 16],
      [1, 3, 13],
      [200, 44, 1],
      [0, 40, 1],
      [40, 0, 1],
      [160, 1, 4],
      [1, 1, 1],
      [5, 7, 0],
    ]) {
      const data = numbers("normal", 900);
      const x = Float32Array.from(offsetsOf(shape, strides), (at) => data[at] ?? NaN);
      for (const op of OPS) {
        for (const axis of [0, 1, 2]) {
          const result = await gpu.run(PARSERS[op]({ data, shape, strides }, { axis }));
          expectClose(result, expected(op, x, shape, { axis }), gpuTolerance(op), `${op} ${strides.join()} axis ${axis}`);
        }
      }
    }
  });

  test("operands and results anywhere in GPU buffers", async () => {
    const shape = [6, 64];
    const x = numbers("normal", 384);
    const bias = numbers("normal", 64, 2);
    const mask = maskBytes(384);
    for (const offset of [0, 4, 16, 252, 256, 260, 1028]) {
      const call = PARSERS.softmax({ data: x, shape });
      const plain: RowCall = { ...call, operands: { ...call.operands, x: { data: gpu.upload(x, "f32", offset), strides: [64, 1] } } };
      expectClose(await gpu.run(plain, {}, offset), expected("softmax", x, shape, { axis: 1 }), gpuTolerance("softmax"), `${offset}`);
      const modified: RowCall = {
        ...plain,
        safe: true,
        operands: {
          ...plain.operands,
          bias: { data: gpu.upload(bias, "f32", offset), strides: [0, 1] },
          mask: { data: gpu.upload(mask, "u8", offset), strides: [64, 1] },
        },
      };
      const wanted = { axis: 1, safe: true, bias: { values: bias, shape: [64] }, mask: { values: mask, shape } };
      expectClose(await gpu.run(modified, {}, 256 - (offset % 256)), expected("softmax", x, shape, wanted), gpuTolerance("softmax", 12), `${offset}`);
    }
  });

  describe("bindings of little memory", () => {
    // 16 KB at a time, 256 bytes of them for alignment: every call below needs several dispatches.
    const traits = { bindingBytes: 16384 };

    test.each([
      [[100, 333], 1],
      [[100, 1024], 1],
      [[12, 4032], 1],
      [[30, 11, 130], 1],
      [[5, 7, 3, 500], 3],
      [[70, 13, 64], 1],
    ] as const)("%j over axis %d, in pieces", async (shape, axis) => {
      const x = numbers("holes", countOf(shape));
      const operand = shape.map((size, d) => (d === 0 ? 1 : size));
      const mask = maskBytes(countOf(operand));
      for (const op of OPS) {
        const plain = PARSERS[op]({ data: x, shape }, { axis });
        const whole = await gpu.run(plain);
        expect(await gpu.run(plain, traits), op).toEqual(whole);
        const masked = PARSERS[op]({ data: x, shape }, { axis, mask: { data: mask, shape: operand } });
        const wanted = { axis, mask: { values: mask, shape: operand } };
        expectClose(await gpu.run(masked, traits), expected(op, x, shape, wanted), gpuTolerance(op), op);
      }
    });

    test("split over segments as well", async () => {
      const n = 34000;
      const x = numbers("normal", 5 * n);
      for (const op of OPS) {
        const call = PARSERS[op]({ data: x, shape: [5, n] });
        expect(await gpu.run(call, { bindingBytes: 2 * n * 4 + 300 }), op).toEqual(await gpu.run(call));
      }
    });

    test("one row that does not fit is refused by name, and nothing is recorded", async () => {
      const x = numbers("normal", 3 * 5000);
      await expect(gpu.run(PARSERS.softmax({ data: x, shape: [3, 5000] }), traits)).rejects.toThrow(/^"x" has rows that each span 20000 bytes/);
      await expect(gpu.run(PARSERS.softmax({ data: x, shape: [5000, 3] }, { axis: 0 }), traits)).rejects.toThrow(/^"x" has rows that each span/);
      const bias = { data: numbers("normal", 40), shape: [40, 1] };
      await expect(
        gpu.run(
          PARSERS.softmax({ data: x.subarray(0, 40), shape: [40], strides: [0] }, { bias: { data: numbers("normal", 40 * 400), shape: [40], strides: [400] } }),
          traits,
        ),
      ).rejects.toThrow(/^"bias" has/);
      expect(bias.shape).toHaveLength(2);
    });
  });

  test("a grid in two dimensions, with workgroups to spare", async () => {
    const x = numbers("normal", 1000 * 300);
    const call = PARSERS.softmax({ data: x, shape: [1000, 300] });
    const whole = await gpu.run(call);
    for (const workgroupsPerDimension of [17, 64, 70]) expect(await gpu.run(call, { workgroupsPerDimension })).toEqual(whole);
    const long = PARSERS.softmax({ data: x.subarray(0, 150_000), shape: [3, 50_000] });
    expect(await gpu.run(long, { workgroupsPerDimension: 5 })).toEqual(await gpu.run(long));
  });

  test("more workgroups than one dimension of the real device holds", async () => {
    const rows = 65536 * 8 + 3;
    const x = new Float32Array(rows * 32).fill(1);
    // 8 lanes for 32 columns are 32 rows a workgroup; 32 lanes for 31 columns are 8.
    const y = await run(gpu, "logSumExp", x.subarray(0, rows * 31), [rows, 31], {});
    expect(y).toHaveLength(rows);
    expectClose(y, new Float64Array(rows).fill(1 + Math.log(31)), gpuTolerance("logSumExp"));
  });

  test("a row's bits do not depend on other rows, or on where it is", async () => {
    for (const n of [10, 64, 1000, 8192, 33000]) {
      const x = numbers("wide", 5 * n);
      const all = await run(gpu, "softmax", x, [5, n], {});
      for (const r of [0, 3]) expect(await run(gpu, "softmax", x.slice(r * n, (r + 1) * n), [n], {}), `${n}`).toEqual(all.slice(r * n, (r + 1) * n));
    }
  });

  describe("f16", () => {
    test.each([
      [[5, 3], 1],
      [[5, 64], 1],
      [[3, 101], 1],
      [[2, 8192], 1],
      [[2, 8193], 1],
      [[1, 40000], 1],
      [[33, 50], 0],
      [[3, 5, 9], 1],
    ] as const)("%j over axis %d", { timeout: COMPILING }, async (shape, axis) => {
      const count = countOf(shape);
      const bits = Uint16Array.from(numbers("holes", count), toHalf);
      const values = Float32Array.from(bits, fromHalf);
      const mask = maskBytes(count);
      const bias = numbers("normal", shape[axis], 2);
      const across = { data: bias, shape: shape.map((size, d) => (d === axis ? size : 1)) };
      for (const op of OPS) {
        const x = { data: bits, shape, dtype: "f16" };
        expectClose(await gpu.run(PARSERS[op](x, { axis })), expected(op, values, shape, { axis }), gpuTolerance(op), op);
        const result = await gpu.run(PARSERS[op](x, { axis, bias: across, mask: { data: mask, shape } }));
        const wanted = { axis, bias: { values: bias, shape: across.shape }, mask: { values: mask, shape } };
        expectClose(result, expected(op, values, shape, wanted), gpuTolerance(op, 20), op);
      }
    });

    test("from a GPU buffer, at an odd pair", async () => {
      const bits = Uint16Array.from(numbers("normal", 120), toHalf);
      const call = PARSERS.softmax(new Float32Array(120));
      const halves: RowCall = { ...call, operands: { ...call.operands, x: { data: gpu.upload(bits, "f16", 12), strides: [1] } } };
      expectClose(await gpu.run(halves), expected("softmax", Float32Array.from(bits, fromHalf), [120], { axis: 0 }), gpuTolerance("softmax"));
    });
  });

  test("everything above came from four shaders", () => {
    // And from the one for rows across memory, where lanes are otherwise merged by shuffles.
    expect(gpu.compiled).toBeLessThanOrEqual(gpu.traits.subgroups === undefined ? 4 : 6);
  });
}

/** The result of an operation by its name. */
function run(gpu: RowDevice, op: Op, x: Float32Array, shape: readonly number[], { safe, ...options }: Record<string, unknown>): Promise<Float32Array> {
  return gpu.run(PARSERS[op]({ data: x, shape }, op === "logSumExp" ? options : { ...options, safe }));
}
