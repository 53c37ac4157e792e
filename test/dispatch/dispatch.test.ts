import { describe, expect, test } from "vitest";
import type { Calibration } from "../../src/engine/calibration.ts";
import { type DispatchState, decide, duration, estimateCpu, estimateGpu } from "../../src/engine/dispatch.ts";
import { BackendError, UnsupportedError } from "../../src/errors/errors.ts";
import type { Work } from "../../src/calls/work.ts";
import { fc } from "../support/property.ts";
import { thrown } from "../support/thrown.ts";
import { FAMILIES, crossover } from "./families.ts";
import { type GridCall, rowWork, workOf } from "./grid.ts";

/** Round figures, so that times can be worked out by hand. */
const ROUND: Calibration = {
  version: 1,
  cpu: {
    callSeconds: 1e-6,
    rowElementsPerSecond: { alone: 1e9, all: 4e9 },
    resultBytesPerSecond: 4e9,
    flopsPerSecond: { alone: 1e10, all: 4e10 },
    decodeBytesPerSecond: { alone: 1e10, all: 2e10 },
  },
  gpu: {
    submitSeconds: 20e-6,
    readbackSeconds: 80e-6,
    uploadBytesPerSecond: 4e9,
    downloadBytesPerSecond: 2e9,
    rowBytesPerSecond: 1e11,
    flopsPerSecond: { alone: 1e10, all: 1e12 },
    decodeBytesPerSecond: 1e11,
  },
};
const USABLE = { usable: true, maxBufferBytes: 2 ** 30, maxSpanBytes: 2 ** 27 } as const;
const AUTO: DispatchState = { device: "auto", gpu: USABLE, calibration: ROUND };

const NOTHING = rowWork("softmax", [0, 1], "host");
const work = (changes: Partial<Work>): Work => ({ ...NOTHING, ...changes });

describe("time on the CPU", () => {
  test("a small call runs on one thread", () => {
    expect(estimateCpu(work({ rowElements: 1000, parts: { cpu: 8, gpu: 8 } }), ROUND).seconds).toBeCloseTo(2e-6, 12);
  });
  test("a large one on all, which have to be woken", () => {
    expect(estimateCpu(work({ rowElements: 4e9, parts: { cpu: 8, gpu: 8 } }), ROUND).compute).toBeCloseTo(1, 3);
  });
  test("a call of two parts on two", () => {
    expect(estimateCpu(work({ flops: 4e10, parts: { cpu: 2, gpu: 8 } }), ROUND).compute).toBeCloseTo(2, 3);
  });
  test("decode by what is slower, keys or arithmetic", () => {
    expect(estimateCpu(work({ flops: 4e10, keyBytes: 1e10, parts: { cpu: 8, gpu: 8 } }), ROUND).compute).toBeCloseTo(1, 3);
    expect(estimateCpu(work({ flops: 4e9, keyBytes: 1e10, parts: { cpu: 8, gpu: 8 } }), ROUND).compute).toBeCloseTo(0.5, 3);
  });
  const DECODE: GridCall = { op: "attention", heads: 32, kvHeads: 8, queries: 1, keys: 4096, dim: 128, causal: true };
  const LARGE: GridCall = { op: "softmax", rows: 1000, cols: 1000 };
  test.each([DECODE, LARGE])("operands in module memory are not copied: $op", (call) => {
    const [host, module] = [workOf(call, "host"), workOf(call, "module")];
    const copies = { ...ROUND, cpu: { ...ROUND.cpu, resultBytesPerSecond: 1e10 } };
    const spared = host.bytesIn / (4 * copies.cpu.resultBytesPerSecond);
    expect(estimateCpu(host, copies).compute - estimateCpu(module, copies).compute).toBeCloseTo(spared, 12);
    // Results go to new arrays all the same.
    expect(estimateCpu(module, copies).result).toBe(estimateCpu(host, copies).result);
    expect(estimateCpu({ ...module, resultPlace: "module" }, copies).result).toBe(0);
    // A GPU has to be sent them either way.
    expect(estimateGpu(module, ROUND)).toEqual(estimateGpu(host, ROUND));
  });
  test("and leave something to compute, however slow copies are measured to be", () => {
    const slow = { ...ROUND, cpu: { ...ROUND.cpu, resultBytesPerSecond: 1e6 } };
    expect(estimateCpu(workOf(DECODE, "module"), slow).compute).toBeCloseTo(estimateCpu(workOf(DECODE, "host"), slow).compute / 10, 12);
  });
  test("a call that is close is made on the CPU when its operands are in module memory", () => {
    // The GPU has just enough of a lead that the copy makes the difference.
    const { seconds } = estimateCpu(workOf(DECODE, "host"), ROUND);
    const lead = 1e-6 + estimateGpu(workOf(DECODE), ROUND).seconds - ROUND.gpu.readbackSeconds;
    const calibration = { ...ROUND, gpu: { ...ROUND.gpu, readbackSeconds: seconds - lead } };
    expect(decide(workOf(DECODE, "host"), { ...AUTO, calibration }).device).toBe("webgpu");
    expect(decide(workOf(DECODE, "module"), { ...AUTO, calibration }).device).toBe("wasm");
  });
  test("results take time to write", () => {
    expect(estimateCpu(work({ bytesOut: 4e9 }), ROUND).result).toBeCloseTo(1, 12);
  });
});

describe("time on the GPU", () => {
  test("is that of its parts", () => {
    const estimate = estimateGpu(work({ bytesIn: 4e6, bytesOut: 4e6, rowBytes: 1e8 }), ROUND);
    expect(estimate.upload).toBeCloseTo(1e-3, 12);
    expect(estimate.compute).toBeCloseTo(1e-3, 12);
    expect(estimate.readback).toBeCloseTo(2.08e-3, 12);
    expect(estimate.seconds).toBeCloseTo(20e-6 + 4.08e-3, 12);
  });
  test("few workgroups leave most of a device idle", () => {
    expect(estimateGpu(work({ flops: 1e12, parts: { cpu: 1, gpu: 2 } }), ROUND).compute).toBeCloseTo(50, 9);
    expect(estimateGpu(work({ flops: 1e12, parts: { cpu: 1, gpu: 1000 } }), ROUND).compute).toBeCloseTo(1, 9);
  });
  test("a call whose operands and result stay there is neither sent nor read back", () => {
    const resident = estimateGpu(rowWork("softmax", [1024, 1024], "gpu"), ROUND);
    expect(resident).toMatchObject({ upload: 0, readback: 0, submit: 20e-6 });
    expect(resident.seconds).toBeCloseTo(20e-6 + (2 * 4 * 2 ** 20) / 1e11, 12);
  });
});

describe("decide", () => {
  test("takes the side that is estimated to be faster, and says so", () => {
    const small = decide(rowWork("softmax", [1, 100], "host"), AUTO);
    expect(small.device).toBe("wasm");
    expect(small.reason).toBe("wasm: 1.2 µs estimated against 0.10 ms on the GPU (submit 20 µs, upload 0.10 µs, compute 0.01 µs, readback 80 µs)");
    const large = decide(workOf({ op: "attention", heads: 8, kvHeads: 8, queries: 2048, keys: 2048, dim: 64, causal: false }), AUTO);
    expect(large.device).toBe("webgpu");
    expect(large.reason).toBe("webgpu: 16 ms estimated against 270 ms on the CPU (submit 20 µs, upload 3.1 ms, compute 11 ms, readback 2.2 ms)");
    expect(large.estimates?.webgpu.seconds).toBeLessThan(large.estimates?.wasm.seconds ?? 0);
  });

  const lost = { usable: false, reason: "the device was lost", lost: true } as const;

  test.each<[string, Partial<DispatchState>, Partial<Work>, string]>([
    ["f64", {}, { onlyCpu: '"x" has dtype f64, and WebGPU has no f64' }, 'wasm: "x" has dtype f64, and WebGPU has no f64'],
    ["an operand on the GPU", {}, { operands: [{ name: "mask", place: "gpu", bytes: 4 }] }, 'webgpu: "mask" is in a GPU buffer'],
    ["no GPU", { gpu: { usable: false, reason: "no adapter", lost: false } }, {}, "wasm: WebGPU is off: no adapter"],
    ["a lost GPU", { gpu: { usable: false, reason: "the device was lost", lost: true } }, {}, "wasm: WebGPU is off: the device was lost"],
    ["device wasm", { device: "wasm" }, {}, 'wasm: the engine was created with device "wasm"'],
    ["f64 on webgpu", { device: "webgpu" }, { onlyCpu: '"x" has dtype f64, and WebGPU has no f64' }, 'wasm: "x" has dtype f64, and WebGPU has no f64'],
    ["webgpu asked for and lost", { device: "webgpu", gpu: lost }, {}, "wasm: WebGPU is off: the device was lost"],
    ["device webgpu", { device: "webgpu", calibration: undefined }, {}, 'webgpu: the engine was created with device "webgpu"'],
    ["no calibration", { calibration: undefined }, {}, "wasm: the machine has not been calibrated"],
    ["a buffer too large", {}, { largestBytes: 2 ** 31 }, "wasm: a buffer of 2147483648 bytes is more than the GPU allows (1073741824)"],
    ["a row too long", {}, { spanBytes: 2 ** 28 }, "wasm: a row, or the keys of a head, of 268435456 bytes is more than the GPU sees at once (134217728)"],
  ])("%s leaves no choice", (_, state, changes, reason) => {
    const decision = decide(work(changes), { ...AUTO, ...state });
    expect(decision.reason).toBe(reason);
    expect(decision.device).toBe(reason.slice(0, reason.indexOf(":")));
  });

  const off = { usable: false, reason: "no adapter", lost: false } as const;
  const resident: Partial<Work> = { operands: [{ name: "k", place: "gpu", bytes: 4 }] };
  test.each<[string, Partial<DispatchState>, Partial<Work>, new (message: string) => Error, string]>([
    ["operands on a lost GPU", { gpu: lost }, resident, BackendError, '"k" is in a GPU buffer, but WebGPU is off: the device was lost'],
    ["operands on a GPU of another", { gpu: off }, resident, UnsupportedError, '"k" is in a GPU buffer, but WebGPU is off: no adapter'],
    ["operands on a GPU, wasm only", { device: "wasm" }, resident, UnsupportedError, '"k" is in a GPU buffer; the engine was created with device "wasm"'],
    [
      "bf16 and a GPU buffer",
      {},
      { ...resident, onlyCpu: '"v" has dtype bf16, where a GPU reads f32' },
      UnsupportedError,
      '"v" has dtype bf16, where a GPU reads f32, but "k" is in a GPU buffer',
    ],
  ])("%s is an error", (_, state, changes, type, message) => {
    const error = thrown(() => decide(work(changes), { ...AUTO, ...state }));
    expect(error.message).toBe(message);
    expect(error).toBeInstanceOf(type);
  });
});

describe("monotony", () => {
  const amount = fc.double({ min: 0, max: 1e9, noNaN: true });
  const count = fc.integer({ min: 1, max: 1000 });
  const anyWork = fc
    .record({ bytesIn: amount, bytesOut: amount, rowElements: amount, rowBytes: amount, flops: amount, keyBytes: amount, cpu: count, gpu: count })
    .map(({ cpu, gpu, ...rest }) => work({ ...rest, parts: { cpu, gpu } }));
  const rate = fc.double({ min: 1e6, max: 1e13, noNaN: true });
  const rates = fc.record({ alone: rate, all: rate });
  const seconds = fc.double({ min: 1e-7, max: 1e-1, noNaN: true });
  const anyCalibration = fc.record({
    version: fc.constant(1 as const),
    cpu: fc.record({ callSeconds: seconds, rowElementsPerSecond: rates, resultBytesPerSecond: rate, flopsPerSecond: rates, decodeBytesPerSecond: rates }),
    gpu: fc.record({
      submitSeconds: seconds,
      readbackSeconds: seconds,
      uploadBytesPerSecond: rate,
      downloadBytesPerSecond: rate,
      rowBytesPerSecond: rate,
      flopsPerSecond: rates,
      decodeBytesPerSecond: rate,
    }),
  });
  const factor = fc.double({ min: 1, max: 1e3, noNaN: true });
  const deviceOf = (w: Work, calibration: Calibration) => decide(w, { ...AUTO, calibration }).device;

  test("more to send never moves a call to the GPU", () => {
    fc.assert(
      fc.property(anyWork, anyCalibration, amount, (w, calibration, more) => {
        if (deviceOf(w, calibration) === "wasm") expect(deviceOf({ ...w, bytesIn: w.bytesIn + more }, calibration)).toBe("wasm");
      }),
      { numRuns: 2000 },
    );
  });

  test("a faster GPU never moves a call to the CPU, a faster CPU never moves one to the GPU", () => {
    fc.assert(
      fc.property(anyWork, anyCalibration, factor, (w, calibration, f) => {
        const { cpu, gpu } = calibration;
        const fasterGpu = {
          ...gpu,
          submitSeconds: gpu.submitSeconds / f,
          rowBytesPerSecond: gpu.rowBytesPerSecond * f,
          uploadBytesPerSecond: gpu.uploadBytesPerSecond * f,
        };
        if (deviceOf(w, calibration) === "webgpu") expect(deviceOf(w, { ...calibration, gpu: fasterGpu })).toBe("webgpu");
        const { alone, all } = cpu.flopsPerSecond;
        const fasterCpu = { ...cpu, callSeconds: cpu.callSeconds / f, flopsPerSecond: { alone: alone * f, all: all * f } };
        if (deviceOf(w, calibration) === "wasm") expect(deviceOf(w, { ...calibration, cpu: fasterCpu })).toBe("wasm");
      }),
      { numRuns: 2000 },
    );
  });

  test("more work never takes less time, on either side", () => {
    fc.assert(
      fc.property(anyWork, anyCalibration, factor, (w, calibration, f) => {
        const more = work({
          ...w,
          bytesIn: w.bytesIn * f,
          bytesOut: w.bytesOut * f,
          rowElements: w.rowElements * f,
          rowBytes: w.rowBytes * f,
          flops: w.flops * f,
          keyBytes: w.keyBytes * f,
        });
        expect(estimateCpu(more, calibration).seconds).toBeGreaterThanOrEqual(estimateCpu(w, calibration).seconds * (1 - 1e-12));
        expect(estimateGpu(more, calibration).seconds).toBeGreaterThanOrEqual(estimateGpu(w, calibration).seconds * (1 - 1e-12));
      }),
    );
  });
});

describe("crossover", () => {
  const attention = FAMILIES.find(({ name }) => name === "attention 8 × n × 64");
  const softmax = FAMILIES.find(({ name }) => name === "softmax n × n");

  test("is the first size that dispatch sends to the GPU", () => {
    if (attention === undefined) return expect.fail("no such family");
    const { size = 0 } = crossover(attention, ROUND);
    expect(size).toBeGreaterThan(10);
    expect(size).toBeLessThan(1000);
    expect(decide(workOf(attention.callOf(size)), AUTO).device).toBe("webgpu");
    expect(decide(workOf(attention.callOf(size - 1)), AUTO).device).toBe("wasm");
  });

  test("is absent where transfers alone take longer than the CPU", () => {
    if (softmax === undefined) return expect.fail("no such family");
    expect(crossover(softmax, ROUND)).toEqual({ family: "softmax n × n", size: undefined, largest: 16384 });
  });

  test("is 1 where the GPU always wins", () => {
    const slow = { ...ROUND, cpu: { ...ROUND.cpu, callSeconds: 1 } };
    for (const family of FAMILIES) expect(crossover(family, slow).size).toBe(1);
  });

  test("moves up when transfers get slower", () => {
    if (attention === undefined) return expect.fail("no such family");
    const slower = { ...ROUND, gpu: { ...ROUND.gpu, uploadBytesPerSecond: 1e9, downloadBytesPerSecond: 5e8 } };
    expect(crossover(attention, slower).size).toBeGreaterThan(crossover(attention, ROUND).size ?? Infinity);
  });
});

test.each([
  [1.2e-6, "1.2 µs"],
  [12.4e-6, "12 µs"],
  [0.3e-3, "0.30 ms"],
  [5.14e-3, "5.1 ms"],
  [0.25, "250 ms"],
  [3.4, "3.4 s"],
  [0, "0.00 µs"],
])("%d seconds are %s", (seconds, text) => expect(duration(seconds)).toBe(text));
