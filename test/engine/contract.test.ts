import { describe, expect, test, vi } from "vitest";
import {
  BackendError,
  type Calibration,
  DisposedError,
  type Engine,
  type GpuTensor,
  UnsupportedError,
  attention,
  attentionScores,
  attentionVarlen,
  createEngine,
  logSoftmax,
  logSumExp,
  mergeStates,
  softmax,
  tensor,
} from "../../src/index.ts";
import { shareMemoryOf } from "../../src/backend/wasm/module/shared-binary.ts";
import { hasRelaxedSimd } from "../../src/backend/wasm/module/features.ts";
import { parseCalibration } from "../../src/engine/calibration.ts";
import { wholeBinary } from "../support/whole-binary.ts";
import { calibrationOf } from "./calibration.ts";
import { alteredGpu, nullGpu } from "./null-gpu.ts";

// What an engine promises besides numbers: options, where results go, order, and what it says of itself. Numbers are compared in
// the parity suites, which run on engines as well.

const numbers = (count: number, seed = 1): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * 1.7) * 3);
const x = tensor(numbers(12), [3, 4]);
const [q, k, v] = [tensor(numbers(24, 2), [2, 3, 4]), tensor(numbers(40, 3), [2, 5, 4]), tensor(numbers(40, 4), [2, 5, 4])];

/** A GPU without adapters. */
const NO_ADAPTER = { requestAdapter: () => Promise.resolve(null) };

async function withEngine<T>(options: Parameters<typeof createEngine>[0], body: (engine: Engine) => Promise<T> | T): Promise<T> {
  const engine = await createEngine(options);
  try {
    return await body(engine);
  } finally {
    engine.dispose();
  }
}

function fail(error: Error): never {
  throw error;
}

async function rejected(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.fail("it did not reject"),
    (error: unknown) => error as Error,
  );
}

describe("on the CPU", () => {
  test("every operation gives what the plain function gives", async () => {
    await withEngine({ device: "wasm", threads: 1 }, async (engine) => {
      expect(await engine.softmax(x, { axis: 0 })).toEqual(softmax(x, { axis: 0 }));
      expect(await engine.softmax(Float64Array.of(1, 2))).toEqual(softmax(Float64Array.of(1, 2)));
      expect(await engine.logSoftmax(x, { scale: 2 })).toEqual(logSoftmax(x, { scale: 2 }));
      expect(await engine.logSumExp(x, { keepDims: true })).toEqual(logSumExp(x, { keepDims: true }));
      expect(await engine.attention(q, k, v, { causal: true })).toEqual(attention(q, k, v, { causal: true }));
      expect(await engine.scaledDotProductAttention(q, k, v, { causal: true })).toEqual(attention(q, k, v, { causal: true }));
      const parts = await engine.attention(q, k, v, { returnLse: true });
      expect(parts).toEqual(attention(q, k, v, { returnLse: true }));
      expect(await engine.mergeStates([parts, parts])).toEqual(mergeStates([parts, parts]));
      expect(await engine.attentionScores(q, k, { stage: "masked", causal: true })).toEqual(attentionScores(q, k, { stage: "masked", causal: true }));
      const ragged = tensor(numbers(24), [3, 2, 4]);
      const starts = { cuSeqlensQ: [0, 1, 3] };
      expect(await engine.attentionVarlen(ragged, ragged, ragged, starts)).toEqual(attentionVarlen(ragged, ragged, ragged, starts));
    });
  });

  test("arrays are read before a call returns, and out is written when it settles", async () => {
    await withEngine({ device: "wasm" }, async (engine) => {
      const input = numbers(12);
      const out = new Float32Array(12).fill(7);
      const expected = softmax(tensor(input.slice(), [3, 4])).data;
      const promise = engine.softmax(tensor(input, [3, 4]), { out });
      input.fill(NaN);
      expect([...out]).toEqual(new Array(12).fill(7));
      const result = await promise;
      expect(result.data).toBe(out);
      expect([...out]).toEqual([...expected]);
    });
  });

  test("out may be strided, and in place", async () => {
    await withEngine({ device: "wasm" }, async (engine) => {
      const out = { data: new Float32Array(24).fill(7), shape: [3, 4], strides: [8, 2], dtype: "f32" } as const;
      expect(await engine.softmax(x, { out })).toBe(out);
      const expected = softmax(x).data;
      expect([...out.data]).toEqual(Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? expected[i / 2] : 7)));
      const place = tensor(numbers(12), [3, 4]);
      expect(await engine.softmax(place, { out: place })).toBe(place);
      expect([...place.data]).toEqual([...expected]);
      const strided = { data: new Float32Array(60), shape: [2, 3, 4], strides: [30, 8, 1], dtype: "f32" } as const;
      const { out: given, lse } = await engine.attention(q, k, v, { out: strided, returnLse: true });
      expect(given).toBe(strided);
      const plain = attention(q, k, v, { returnLse: true });
      expect(lse).toEqual(plain.lse);
      expect(strided.data[30 + 8 + 1]).toBe(plain.out.data[12 + 4 + 1]);
    });
  });

  test("tensors of the engine's memory are used in place", async () => {
    await withEngine({ device: "wasm" }, async (engine) => {
      const kept = engine.empty([3, 4], { device: "wasm" });
      kept.data.set(x.data);
      expect(await engine.softmax(kept, { out: kept })).toBe(kept);
      expect([...kept.data]).toEqual([...softmax(x).data]);
      kept.dispose();
    });
  });

  test("what a call writes there is what the next one reads, whichever operation it is", async () => {
    await withEngine({ device: "wasm", threads: 2 }, async (engine) => {
      const shape = [4, 512, 64];
      const long = tensor(numbers(4 * 512 * 64, 5), shape);
      const kept = engine.empty(shape, { device: "wasm" });
      kept.data.fill(7);
      const want = attention(long, long, long, { returnLse: true });
      const lse = new Float32Array(4 * 512);
      const first = engine.attention(long, long, long, { out: kept });
      const merged = engine.mergeStates([{ out: kept, lse: { data: lse, shape: [4, 512] } }]);
      lse.fill(NaN);
      await first;
      expect((await merged).out.data).toEqual(want.out.data);
      kept.dispose();
    });
  });

  test("a call that is wrong rejects like the plain function throws, and changes nothing", async () => {
    await withEngine({ device: "wasm" }, async (engine) => {
      const out = new Float32Array(11).fill(7);
      const error = await rejected(engine.softmax(x, { out }));
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toBe('"out" expected 12 elements for shape [3, 4], got 11');
      expect([...out]).toEqual(new Array(11).fill(7));
      expect((await rejected(engine.attention(q, k, v, { casual: true } as never))).message).toMatch(/^"casual" is not an option here/);
      expect((await rejected(engine.softmax("x" as never))).message).toBe('"x" expected a typed array or a tensor, got "x"');
    });
  });

  test("an aborted signal rejects with its reason", async () => {
    await withEngine({ device: "wasm" }, async (engine) => {
      const out = new Float32Array(12).fill(7);
      expect(await rejected(engine.softmax(x, { out, signal: AbortSignal.abort(new Error("enough")) }))).toEqual(new Error("enough"));
      expect([...out]).toEqual(new Array(12).fill(7));
    });
  });

  test("options are checked as the plain functions check them", async () => {
    const ragged = tensor(numbers(24), [3, 2, 4]);
    const thrown = (call: () => unknown): unknown => {
      try {
        return call();
      } catch (error) {
        return error;
      }
    };
    await withEngine({ device: "wasm", threads: 1 }, async (engine) => {
      for (const options of [null, 1, "fast", true, [], { axes: 1 }] as never[]) {
        const calls: readonly [Promise<unknown>, () => unknown][] = [
          [engine.softmax(x, options), () => softmax(x, options)],
          [engine.logSoftmax(x, options), () => logSoftmax(x, options)],
          [engine.logSumExp(x, options), () => logSumExp(x, options)],
          [engine.attention(q, k, v, options), () => attention(q, k, v, options)],
          [engine.attentionVarlen(ragged, ragged, ragged, options), () => attentionVarlen(ragged, ragged, ragged, options)],
          [engine.attentionScores(q, k, options), () => attentionScores(q, k, options)],
          [engine.mergeStates([], options), () => mergeStates([], options)],
        ];
        for (const [call, plain] of calls) {
          const error = await rejected(call);
          expect(error).toEqual(thrown(plain));
          expect(error).toBeInstanceOf(TypeError);
          expect(error.message).toMatch(/^"options" expected an object|is not an option here/);
        }
      }
      const [q3, none] = [ragged, undefined as never];
      expect(await rejected(engine.attentionVarlen(q3, q3, q3, none))).toEqual(thrown(() => attentionVarlen(q3, q3, q3, none)));
      // Inherited options count, as they do there.
      expect(await engine.softmax(x, Object.create({ axis: 0 }) as object)).toEqual(softmax(x, { axis: 0 }));
    });
  });

  test.each([3, null, "stop", {}, { aborted: false }, { aborted: 1, addEventListener: () => undefined }])("a signal that is none: %o", async (signal) => {
    await withEngine({ device: "wasm", threads: 1 }, async (engine) => {
      const error = await rejected(engine.softmax(x, { signal: signal as never }));
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(/^"signal" expected an AbortSignal, got /);
      expect((await rejected(engine.mergeStates([], { signal: signal as never }))).message).toMatch(/^"signal" expected an AbortSignal, got /);
    });
  });

  test.each(["wasm", "webgpu"] as const)("of a signal no more is needed than its type says, %s", async (device) => {
    await withEngine({ device, threads: 1, ...(device === "webgpu" && { gpu: nullGpu() }) }, async (engine) => {
      let abort = (): void => expect.fail("nobody listens");
      const signal = {
        aborted: false,
        reason: undefined as unknown,
        addEventListener: (_: "abort", listener: () => void) => (abort = listener),
        removeEventListener: () => undefined,
      };
      expect((await engine.softmax(x, { signal })).shape).toEqual([3, 4]);
      const long = tensor(numbers(4 * 1536 * 64), [4, 1536, 64]);
      const call = rejected(engine.attention(long, long, long, { signal }));
      [signal.aborted, signal.reason] = [true, new Error("enough")];
      abort();
      expect(await call).toBe(signal.reason);
      expect(await rejected(engine.softmax(x, { signal }))).toBe(signal.reason);
    });
  });

  test("what needs a GPU says so", async () => {
    await withEngine({ device: "wasm" }, async (engine) => {
      const buffer = { size: 1024, usage: 128, mapState: "unmapped" };
      const onGpu = { buffer, shape: [3, 4], dtype: "f32" } as const;
      expect(await rejected(engine.softmax(onGpu))).toEqual(new UnsupportedError('"x" is in a GPU buffer; the engine was created with device "wasm"'));
      const why = 'WebGPU is off: the engine was created with device "wasm"';
      for (const error of [await rejected(engine.upload(x)), await rejected(engine.download(onGpu))]) {
        expect(error).toBeInstanceOf(BackendError);
        expect(error.message).toBe(why);
      }
      expect(() => engine.empty([2], { device: "webgpu" })).toThrow(new BackendError(why));
      expect(() => engine.encode({} as never)).toThrow(new BackendError(why));
    });
  });

  test.each([1, 2])("disposing ends it and its tensors, and again does nothing, %s threads", async (threads) => {
    const engine = await createEngine({ device: "wasm", threads });
    const kept = [engine.empty([2], { device: "wasm" }), engine.empty([2], { device: "wasm", dtype: "f64" })];
    engine.dispose();
    engine.dispose();
    for (const tensor of kept) {
      expect(() => tensor.data).toThrow(new DisposedError("this engine has been disposed"));
      expect(() => softmax(tensor)).toThrow(DisposedError);
      tensor.dispose();
      expect(() => tensor.data).toThrow(DisposedError);
    }
    expect(await rejected(engine.softmax(x))).toBeInstanceOf(DisposedError);
    for (const use of [() => engine.info(), () => engine.empty([1]), () => engine.explain("softmax", { x: [1] })]) expect(use).toThrow(DisposedError);
  });
});

describe("options", () => {
  const calibration = calibrationOf({ gpuWins: false });

  test.each<[string, object, new (message: string) => Error, RegExp]>([
    ["a misspelt option", { devise: "wasm" }, TypeError, /^"devise" is not an option here; expected one of device, threads/],
    ["an unknown device", { device: "gpu" }, RangeError, /^"device" expected "auto" \| "wasm" \| "webgpu", got "gpu"/],
    ["threads in words", { threads: "two" }, RangeError, /^"threads" expected "auto" or a positive integer, got "two"/],
    ["threads that are no number", { threads: {} }, TypeError, /^"threads" expected "auto" or a positive integer, got Object/],
    ["half a thread", { threads: 1.5 }, RangeError, /^"threads" expected "auto" or a positive integer, got 1.5/],
    ["memory in words", { maxMemoryBytes: "1GB" }, TypeError, /^"maxMemoryBytes" expected a number, got "1GB"/],
    ["memory that is no number", { maxMemoryBytes: NaN }, RangeError, /^"maxMemoryBytes" expected an integer of at least 2097152, got NaN/],
    ["less than no memory", { maxMemoryBytes: -1 }, RangeError, /^"maxMemoryBytes" expected an integer of at least 2097152, got -1/],
    ["less memory than kernels need", { maxMemoryBytes: 1 << 20 }, RangeError, /^"maxMemoryBytes" expected an integer of at least 2097152, got 1048576/],
    ["endless memory", { maxMemoryBytes: Infinity }, RangeError, /^"maxMemoryBytes" expected an integer/],
    ["a worker's address that is none", { workerUrl: 3 }, TypeError, /^"workerUrl" expected a string or a URL, got 3/],
    ["an object for a worker's address", { workerUrl: { pathname: "/w.js" } }, TypeError, /^"workerUrl" expected a string or a URL, got Object/],
    ["a module that is none", { module: {} }, TypeError, /^"module" expected a WebAssembly.Module, got Object/],
    ["the bytes of a module", { module: wholeBinary("baseline") }, TypeError, /^"module" expected a WebAssembly.Module, got Uint8Array/],
    ["another module", { module: new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)) }, TypeError, /^"module" expected one of onepass\/wasm/],
    [
      "a module of another variant",
      { module: new WebAssembly.Module(wholeBinary("baseline")), variant: "relaxed" },
      RangeError,
      /^"variant" expected "baseline" as "module" is, got "relaxed"/,
    ],
    ["a gpu that is none", { gpu: 1 }, TypeError, /^"gpu" expected a GPU or a GPUDevice, got 1/],
    ["a gpu without the methods of one", { gpu: {} }, TypeError, /^"gpu" expected a GPU or a GPUDevice, got Object/],
    ["a calibration that is none", { calibration: 1 }, TypeError, /^"calibration" expected an object, got 1/],
    [
      "a calibration with a rate of 0",
      { calibration: { ...calibration, gpu: { ...calibration.gpu, uploadBytesPerSecond: 0 } } },
      RangeError,
      /^"calibration.gpu.uploadBytesPerSecond" expected a positive, finite number, got 0/,
    ],
  ])("%s", async (_, options, type, message) => {
    for (const threads of [1, 2]) {
      const error = await rejected(createEngine({ threads, ...options }));
      expect(error.message).toMatch(message);
      expect(error).toBeInstanceOf(type);
    }
  });

  test.each([1, 2])("a module says which binary it is, %s threads", async (threads) => {
    for (const variant of hasRelaxedSimd() ? (["baseline", "relaxed"] as const) : (["baseline"] as const)) {
      const bytes = wholeBinary(variant);
      const module = new WebAssembly.Module(threads === 1 ? bytes : shareMemoryOf(bytes));
      await withEngine({ device: "wasm", threads, module }, async (engine) => {
        expect(engine.info()).toMatchObject({ wasm: { variant, threads }, off: ['WebGPU is off: the engine was created with device "wasm"'] });
        expect((await engine.softmax(x)).shape).toEqual([3, 4]);
      });
      await withEngine({ device: "wasm", threads, module, variant }, (engine) => expect(engine.info().wasm.variant).toBe(variant));
    }
  });

  test("a module that does not fit the number of threads is left aside, and info says so", async () => {
    const [plain, shared] = [wholeBinary("baseline"), shareMemoryOf(wholeBinary("baseline"))].map((bytes) => new WebAssembly.Module(bytes));
    await withEngine({ device: "wasm", threads: 1, module: shared }, async (engine) => {
      expect(engine.info().wasm).toMatchObject({ variant: "baseline", threads: 1 });
      expect(engine.info().off).toContainEqual(expect.stringMatching(/^"module" is one for shared memory, which one thread does without/));
      expect((await engine.softmax(x)).shape).toEqual([3, 4]);
    });
    await withEngine({ device: "wasm", threads: 2, module: plain }, (engine) => {
      expect(engine.info().wasm).toMatchObject({ variant: "baseline", threads: 1 });
      expect(engine.info().off).toContainEqual(expect.stringMatching(/^one thread: the module is not one for shared memory/));
    });
  });

  test("a module that is of no use where nothing may be compiled is an error", async () => {
    const module = new WebAssembly.Module(shareMemoryOf(wholeBinary("baseline")));
    vi.stubGlobal("crossOriginIsolated", false);
    vi.spyOn(WebAssembly, "Module").mockImplementation(function () {
      throw new WebAssembly.CompileError("forbidden");
    });
    Object.assign(WebAssembly.Module, { customSections: () => [new TextEncoder().encode("baseline").buffer] });
    const error = await rejected(createEngine({ device: "wasm", threads: 2, module }));
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
    expect(error).toBeInstanceOf(BackendError);
    expect(error.message).toMatch(/^one thread: the page is not cross-origin isolated .*"module" is one for shared memory.* compiled: forbidden$/);
  });

  test.each([1, 2])("memory grows to maxMemoryBytes and no further, %s threads", async (threads) => {
    await withEngine({ device: "wasm", threads, maxMemoryBytes: 3 << 20 }, async (engine) => {
      expect(engine.info().wasm.threads).toBe(threads);
      const kept = engine.empty([1 << 18], { device: "wasm" });
      expect(() => engine.empty([1 << 18], { device: "wasm" })).toThrow(BackendError);
      kept.data.set(numbers(1 << 18));
      expect((await engine.softmax(kept, { out: kept })).data).toEqual(softmax(numbers(1 << 18)).data);
    });
  });

  test("memory in use is that of all threads and that of the calling one", async () => {
    const bytesOf = (threads: number) => withEngine({ device: "wasm", threads }, (engine) => engine.info().wasm.memoryBytes);
    // Constants and scratch alone take a mebibyte.
    expect((await bytesOf(2)) - (await bytesOf(1))).toBeGreaterThan(1 << 20);
  });

  test("webgpu without a GPU is an error, auto without one is the CPU and says so", async () => {
    const error = await rejected(createEngine({ device: "webgpu", gpu: NO_ADAPTER }));
    expect(error).toBeInstanceOf(BackendError);
    expect(error.message).toMatch(/^no GPU: no adapter/);
    await withEngine({ gpu: NO_ADAPTER }, async (engine) => {
      expect(engine.info().webgpu).toBeUndefined();
      expect(engine.device).toBeUndefined();
      expect(engine.info().off).toContainEqual(expect.stringMatching(/^WebGPU is off: no adapter/));
      expect(engine.calibration).toBeUndefined();
      expect(await engine.softmax(x)).toEqual(softmax(x));
      expect(engine.explain("softmax", { x: [3, 4] }).reason).toMatch(/^wasm: WebGPU is off: no adapter/);
    });
  });

  test("the binary may be chosen", async () => {
    for (const variant of ["baseline", "relaxed"] as const) {
      await withEngine({ device: "wasm", variant }, (engine) => expect(engine.info().wasm.variant).toBe(variant));
    }
  });
});

describe("calibrating", () => {
  test("measures this machine, once", async () => {
    const { calibration } = await withEngine({ gpu: nullGpu(), threads: 2 }, async (engine) => {
      expect(engine.info().off.join()).not.toMatch(/calibration/);
      expect(engine.explain("softmax", { x: [256, 256] }).estimates?.webgpu.seconds).toBeGreaterThan(0);
      // The results of a call are the same wherever it runs, but for this GPU.
      expect((await engine.softmax(x)).shape).toEqual([3, 4]);
      return engine;
    });
    expect(parseCalibration(JSON.parse(JSON.stringify(calibration)))).toEqual(calibration);
  });

  const broken = new Error("the driver has a bug");
  test.each<[string, (device: GPUDevice) => void, RegExp]>([
    ["shaders do not compile", (device) => (device.createComputePipelineAsync = () => Promise.reject(broken)), /the driver has a bug/],
    ["no buffer can be made", (device) => (device.createBuffer = () => fail(broken)), /the driver has a bug/],
    [
      "the device goes away",
      (device) => {
        let buffers = 0;
        const create = device.createBuffer.bind(device);
        device.createBuffer = (descriptor) => {
          if (++buffers === 20) device.destroy();
          return create(descriptor);
        };
      },
      /the GPU device was lost/,
    ],
  ])("fails where %s: the CPU takes all calls, and says why", async (_, alter, reason) => {
    let devices = 0;
    const gpu = alteredGpu((device) => {
      devices++;
      alter(device);
    });
    await withEngine({ gpu }, async (engine) => {
      const [off] = engine.info().off;
      expect(off).toMatch(/^WebGPU is off: calibration failed: /);
      expect(off).toMatch(reason);
      expect(engine.info().webgpu).toBeUndefined();
      expect(engine.calibration).toBeUndefined();
      expect(await engine.softmax(x)).toEqual(softmax(x));
      expect(engine.explain("softmax", { x: [4096, 4096] })).toMatchObject({ device: "wasm", reason: expect.stringMatching(/calibration failed/) as unknown });
      // Nor is it tried again behind the caller's back.
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(devices).toBe(1);
    });
  });
});

describe("a call that turns out to be too large for the GPU", () => {
  const gpu = (): Pick<GPU, "requestAdapter"> =>
    alteredGpu((device) => {
      const { limits } = device;
      const few = new Proxy(limits, { get: (_, name) => (name === "maxComputeWorkgroupsPerDimension" ? 1 : limits[name as "maxBufferSize"]) });
      Object.defineProperty(device, "limits", { value: few });
    });
  const heads = tensor(numbers(2 * 200 * 4), [2, 200, 4]);

  test("runs on the CPU where there is a choice", async () => {
    await withEngine({ gpu: gpu(), calibration: calibrationOf({ gpuWins: true }), threads: 1 }, async (engine) => {
      expect(engine.explain("attention", { q: [2, 20000, 4], k: [2, 20000, 4], v: [2, 20000, 4] }).device).toBe("webgpu");
      const large = tensor(numbers(64 * 512 * 64), [64, 512, 64]);
      expect(engine.explain("attention", { q: large.shape, k: large.shape, v: large.shape }).device).toBe("webgpu");
      expect((await engine.attention(large, large, large)).data).toEqual(attention(large, large, large).data);
    });
  });

  test("is an error where there is none", async () => {
    await withEngine({ gpu: gpu(), device: "webgpu", threads: 1 }, async (engine) => {
      await expect(engine.attention(heads, heads, heads)).rejects.toThrow(/8 workgroups are needed, but this GPU allows 1/);
      await expect(engine.attention(heads, heads, heads)).rejects.toBeInstanceOf(BackendError);
    });
  });
});

describe("explaining a call that is not made", () => {
  const onGpu = (shape: readonly number[], dtype: string) => ({ buffer: { size: 1 << 20, usage: 128, mapState: "unmapped" }, shape, dtype }) as GpuTensor;
  const heads = { q: [2, 3, 4], k: [2, 5, 4], v: [2, 5, 4] };
  const ragged = { q: [3, 2, 4], k: [3, 2, 4], v: [3, 2, 4] };

  /** Arguments of `explain`, and the call that they stand for. */
  const refused: readonly [string, readonly unknown[], ((engine: Engine) => Promise<unknown>) | RegExp][] = [
    ["an unknown operation", ["relu", { x: [1] }], /^"op" expected the name of an operation, got "relu"/],
    ["no operation", [undefined, { x: [1] }], /^"op" expected the name of an operation, got undefined/],
    ["what every object has", ["toString", { x: [1] }], /^"op" expected the name of an operation, got "toString"/],
    ["no shapes", ["softmax"], /^"shapes" expected an object, got undefined/],
    ["shapes that are none", ["softmax", [2, 3]], /^"shapes" expected an object, got \[2, 3\]/],
    ["a missing shape", ["softmax", {}], /^"x" expected a shape \(an array of sizes\), got undefined/],
    ["a missing shape among others", ["attention", { q: [1, 4], k: [1, 4] }], /^"v" expected a shape \(an array of sizes\), got undefined/],
    ["an unknown shape", ["softmax", { x: [1], y: [1] }], /^"y" is no tensor of softmax; expected x, bias, mask/],
    ["a shape of another operation", ["attentionScores", heads], /^"v" is no tensor of attentionScores; expected q, k, bias, mask/],
    [
      "a mask of a ragged batch",
      ["attentionVarlen", { ...ragged, mask: [3] }, { cuSeqlensQ: [0, 3] }],
      /^"mask" is no tensor of attentionVarlen; expected q, k, v/,
    ],
    ["options that are none", ["softmax", { x: [1] }, null], /^"options" expected an object, got null/],
    ["an unknown dtype", ["softmax", { x: [1] }, { dtype: "i32" }], /^"dtype" expected "f32" \| "f64" \| "f16" \| "bf16", got "i32"/],
    ["an unknown place", ["softmax", { x: [1] }, { place: "cpu" }], /^"place" expected "host" \| "gpu" \| "module", got "cpu"/],
    ["a number of parts that is none", ["mergeStates", { out: [2, 4], lse: [2] }, { parts: 0 }], /^"parts" expected a positive integer, got 0/],
    ["parts of something else", ["softmax", { x: [1] }, { parts: 2 }], /^"parts" is not an option here/],
    ["an option that does not fit", ["softmax", { x: [2, 3] }, { axis: 2 }], (engine) => engine.softmax(tensor(new Float32Array(6), [2, 3]), { axis: 2 })],
    [
      "shapes that do not fit",
      ["mergeStates", { out: [2, 4], lse: [3] }],
      (engine) => engine.mergeStates([{ out: tensor(numbers(8), [2, 4]), lse: new Float32Array(3) }]),
    ],
    [
      "a ragged batch without starts",
      ["attentionVarlen", ragged],
      (engine) => engine.attentionVarlen(tensor(numbers(24), ragged.q), tensor(numbers(24), ragged.k), tensor(numbers(24), ragged.v), {} as never),
    ],
    ["attention in f64", ["attention", heads, { dtype: "f64" }], (engine) => engine.attention(new Float64Array(1), k, v)],
    ["f64 on the GPU", ["softmax", { x: [4] }, { dtype: "f64", place: "gpu" }], (engine) => engine.softmax(onGpu([4], "f64"))],
    ["a factor that f32 cannot hold", ["softmax", { x: [4] }, { scale: 1e300 }], (engine) => engine.softmax(new Float32Array(4), { scale: 1e300 })],
  ];
  test.each(refused)("is refused like the call: %s", async (_, args, expected) => {
    const explain = (engine: Engine): unknown => (engine.explain as (...given: unknown[]) => unknown).apply(engine, [...args]);
    for (const options of [
      { device: "wasm", threads: 1 },
      { gpu: nullGpu(), threads: 1, calibration: calibrationOf({ gpuWins: true }) },
    ] as const) {
      await withEngine(options, async (engine) => {
        if (expected instanceof RegExp) expect(() => explain(engine)).toThrow(expected);
        else expect(() => explain(engine)).toThrow(await rejected(expected(engine)));
      });
    }
  });

  test("what an engine on the CPU refuses", async () => {
    await withEngine({ device: "wasm", threads: 1 }, async (engine) => {
      expect(() => engine.explain("softmax", { x: [4] }, { place: "gpu" })).toThrow(await rejected(engine.softmax(onGpu([4], "f32"))));
      expect(() => engine.explain("attention", heads, { place: "gpu" })).toThrow(await rejected(engine.attention(onGpu([2, 3, 4], "f32"), k, v)));
      expect(engine.explain("softmax", { x: [4] }, { dtype: "bf16" }).device).toBe("wasm");
    });
  });

  test("what a call takes, explain takes", async () => {
    await withEngine({ gpu: nullGpu(), threads: 1, calibration: calibrationOf({ gpuWins: true }) }, (engine) => {
      const { signal } = new AbortController();
      expect(engine.explain("softmax", { x: [2, 3], mask: [3], bias: [2, 1] }, { signal, out: new Float32Array(6), axis: 0 }).kernel).toBe("rows");
      expect(engine.explain("softmax", { x: [2, 3], bias: [3] }, { dtype: "f64", scale: 1e300 }).device).toBe("wasm");
      expect(engine.explain("softmax", { x: [4096, 4096], bias: [4096] }, { dtype: "f16" }).device).toBe("webgpu");
      expect(engine.explain("softmax", { x: [2, 3], bias: [3] }, { dtype: "bf16" }).reason).toBe('wasm: "x" has dtype bf16, where a GPU reads f32');
      expect(engine.explain("mergeStates", { out: [2, 4], lse: [2] }, { dtype: "f16" }).reason).toBe(
        'wasm: "parts[0].out" has dtype f16, where a GPU reads f32',
      );
      expect(engine.explain("logSumExp", { x: [2, 0] }, { axis: [0, 1] }).kernel).toBe("rows");
      expect(engine.explain("attention", { q: [8, 2048, 64], k: [8, 2048, 64], v: [8, 2048, 64], bias: [2048] }, { dtype: "f16", softcap: 3 }).device).toBe(
        "webgpu",
      );
      expect(engine.explain("attentionVarlen", ragged, { cuSeqlensQ: [0, 1, 3] }).kernel).toBe("decode");
      expect(engine.explain("attentionScores", { q: [2, 3, 4], k: [2, 5, 4] }, { stage: "raw" }).kernel).toBe("prefill");
      const merge = engine.explain("mergeStates", { out: [2048, 2048], lse: [2048] }, { parts: 16 });
      expect(merge).toMatchObject({ kernel: "merge", device: "webgpu" });
      const two = engine.explain("mergeStates", { out: [2048, 2048], lse: [2048] }).estimates ?? expect.fail();
      expect(merge.estimates?.wasm.compute).toBeCloseTo(8 * two.wasm.compute);
    });
  });
});

describe("on a GPU that computes nothing", () => {
  test("a calibration that is passed in is used, and not measured again", async () => {
    const calibration: Calibration = calibrationOf({ gpuWins: true });
    await withEngine({ gpu: nullGpu(), calibration }, (engine) => {
      expect(engine.calibration).toEqual(calibration);
      expect(engine.info().webgpu?.pipelines).toBe(0);
      expect(engine.explain("softmax", { x: [4096, 4096] }).device).toBe("webgpu");
      expect(engine.explain("softmax", { x: [4096, 4096] }, { dtype: "f64" }).reason).toBe('wasm: "x" has dtype f64, and WebGPU has no f64');
      expect(engine.explain("softmax", { x: [1, 10] }).device).toBe("wasm");
      expect(engine.explain("softmax", { x: [1, 10] }, { place: "gpu" }).reason).toBe('webgpu: "x" is in a GPU buffer');
      const cache = { q: [8, 1, 64], k: [8, 4096, 64], v: [8, 4096, 64] };
      const decode = engine.explain("attention", cache);
      expect(decode.kernel).toBe("decode");
      const { estimates } = engine.explain("attention", cache, { place: "module" });
      expect(estimates?.wasm.compute).toBeLessThan(decode.estimates?.wasm.compute ?? 0);
      expect(estimates?.webgpu).toEqual(decode.estimates?.webgpu);
      expect(engine.explain("attention", { q: [8, 512, 64], k: [8, 512, 64], v: [8, 512, 64] }, { causal: true }).kernel).toBe("prefill");
      expect(() => engine.explain("softmax", { x: [2, -1] })).toThrow(/^"x" expected sizes/);
      expect(() => engine.explain("attention", { q: [8, 1, 64], k: [8, 1, 32], v: [8, 1, 64] })).toThrow(/^"k" expected last dimension 64/);
    });
  });

  test("f64 is computed on the CPU", async () => {
    await withEngine({ device: "webgpu", gpu: nullGpu() }, async (engine) => {
      expect(await engine.softmax(Float64Array.of(1, 2, 3))).toEqual(softmax(Float64Array.of(1, 2, 3)));
    });
  });

  test("a device that was passed in is not destroyed", async () => {
    const gpu = nullGpu();
    const adapter = await gpu.requestAdapter();
    const device = (await adapter?.requestDevice()) ?? expect.fail("no device");
    let lost = false;
    void device.lost.then(() => (lost = true));
    const engine = await createEngine({ device: "webgpu", gpu: device });
    expect(engine.device).toBe(device);
    const kept = engine.empty([16]);
    expect(kept.shape).toEqual([16]);
    engine.dispose();
    expect(engine.device).toBeUndefined();
    await device.queue.onSubmittedWorkDone();
    expect(lost).toBe(false);
    device.destroy();
  });

  test("tensors that were disposed of are refused", async () => {
    await withEngine({ device: "webgpu", gpu: nullGpu() }, async (engine) => {
      const kept = await engine.upload(x);
      expect(kept.dtype).toBe("f32");
      kept.dispose();
      expect(await rejected(engine.softmax(kept))).toBeInstanceOf(DisposedError);
    });
  });

  test("the bytes of a mask and halves can be uploaded", async () => {
    await withEngine({ device: "webgpu", gpu: nullGpu() }, async (engine) => {
      const mask = await engine.upload({ data: new Uint8Array(12), shape: [3, 4] });
      expect([mask.dtype, mask.shape]).toEqual(["u8", [3, 4]]);
      const halves = await engine.upload({ data: new Uint16Array(12), shape: [3, 4], dtype: "f16" });
      expect(halves.dtype).toBe("f16");
      const y = await engine.softmax(halves, { mask });
      expect([y.dtype, y.shape]).toEqual(["f32", [3, 4]]);
      expect((await rejected(engine.upload(new Float64Array(2)))).message).toMatch(/f64/);
      for (const t of [mask, halves, y]) t.dispose();
      expect(engine.info().webgpu?.bytes.inUse).toBe(0);
    });
  });
});
