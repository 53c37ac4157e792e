import { afterAll, describe, expect, test } from "vitest";
import type {
  AttentionOptions,
  AttentionResultWithLse,
  AttentionScoresOptions,
  AttentionVarlenOptions,
  CrossEntropyOptions,
  CrossEntropyResult,
  Engine,
  GpuTensor,
  Layout,
  LogSoftmaxOptions,
  LogSumExpOptions,
  PartialAttention,
  LinearOptions,
  MatmulOptions,
  SampleOptions,
  SampleResult,
  SoftmaxOptions,
  Targets,
  Tensor,
  TensorLike,
  TopKOptions,
  TopKResult,
  TopKSoftmaxOptions,
  TopKSoftmaxResult,
} from "../../src/index.ts";
import type { Cpu } from "../../src/backend/wasm/drivers/cpu.ts";
import { createEngine, mergeStates } from "../../src/index.ts";
import { type Instance, type Variant, createInstance, hasRelaxedSimd } from "../../src/testing/testing.ts";
import { type Cut, type FoundGpu, cutGpu, findGpu, pipelineCount } from "./gpu.ts";
import { type Store, dtypeOf } from "./layouts.ts";
import type { Backend, FloatType } from "./tolerances.ts";
import { CHOSEN, unavailable } from "./variants.ts";

// What the suites compare with the reference: the plain functions with either binary, and engines. All must agree (SEMANTICS). The few
// exceptions that a backend may make are listed here and nowhere else.

export type Awaitable<T> = T | Promise<T>;

/** Where a tensor may be: in an array of the caller, in the module's memory, or in a buffer on the GPU. */
export type Home = "array" | "module" | "device";

/** Something that computes, and what it promises. */
export interface Subject {
  readonly name: string;
  readonly kind: Backend;
  /** Where operands may be, the caller's arrays first. On the GPU they are contiguous. */
  readonly homes: readonly Home[];
  /** The dtypes of rows; attention is f32 everywhere. */
  readonly dtypes: readonly FloatType[];
  /**
   * Whether NaN and +inf in an input reach the result. WGSL may assume that they do not occur, so the GPU promises nothing about
   * them (SEMANTICS 15). Every subject must keep them from reaching results they should *not* reach.
   */
  readonly propagates: boolean;
  /** Whether numbers below the smallest normal one survive; WGSL may flush them to 0. */
  readonly denormals: boolean;
  /** The instance behind the plain functions, for tests that look at its memory. */
  readonly instance?: Instance;

  softmax(x: TensorLike, options?: SoftmaxOptions): Awaitable<Tensor<FloatType>>;
  logSoftmax(x: TensorLike, options?: LogSoftmaxOptions): Awaitable<Tensor<FloatType>>;
  logSumExp(x: TensorLike, options?: LogSumExpOptions): Awaitable<Tensor<FloatType>>;
  attention(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionOptions & { readonly returnLse: true }): Awaitable<AttentionResultWithLse>;
  attention(q: TensorLike, k: TensorLike, v: TensorLike, options?: AttentionOptions & { readonly returnLse?: false }): Awaitable<Tensor<"f32">>;
  attentionVarlen(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionVarlenOptions): Awaitable<Tensor<"f32"> | AttentionResultWithLse>;
  attentionScores(q: TensorLike, k: TensorLike, options?: AttentionScoresOptions): Awaitable<Tensor<"f32">>;
  mergeStates(
    parts: readonly PartialAttention[],
    options?: { readonly layout?: Layout },
  ): Awaitable<{ readonly out: Tensor<"f32">; readonly lse: Tensor<"f32"> }>;

  linear(x: TensorLike, weight: TensorLike, options?: LinearOptions): Awaitable<Tensor<"f32">>;
  matmul(a: TensorLike, b: TensorLike, options?: MatmulOptions): Awaitable<Tensor<"f32">>;
  topK(x: TensorLike, k: number, options?: TopKOptions): Awaitable<TopKResult>;
  topKSoftmax(logits: TensorLike, k: number, options?: TopKSoftmaxOptions): Awaitable<TopKSoftmaxResult>;
  sample(logits: TensorLike, options?: SampleOptions): Awaitable<SampleResult>;
  crossEntropy(logits: TensorLike, targets: Targets, options: CrossEntropyOptions & { readonly returnGrad: true }): Awaitable<CrossEntropyResult>;
  crossEntropy(logits: TensorLike, targets: Targets, options?: CrossEntropyOptions & { readonly returnGrad?: false }): Awaitable<Tensor<"f32">>;

  /** Stores numbers in the subject's own memory. */
  keep(data: Float32Array | Float64Array | Uint8Array): Awaitable<Store>;
  /** The same for f16, given as bits, if the subject computes with it. */
  keepHalves?(bits: Uint16Array): Awaitable<Store>;
  /** Bytes in use by the subject; `undefined` if it does not tell. */
  usedBytes?(): Awaitable<number | undefined>;
  /** The numbers of a contiguous result, wherever they are, as a copy. */
  read(result: Tensor<FloatType>): Awaitable<Float32Array | Float64Array>;
}

/** The plain functions with their own binary and memory. */
export function subjectOf(instance: Instance): Subject {
  return {
    ...instance,
    name: instance.variant,
    kind: "wasm",
    homes: ["array", "module"],
    dtypes: ["f32", "f64"],
    propagates: true,
    denormals: true,
    instance,
    mergeStates,
    keep: (data) => keepInModule(instance, data),
    usedBytes: () => instance.memory.usedBytes,
    read: ({ data }) => data.slice(),
  };
}

/** Numbers in module memory, which may grow between two accesses: every view is fresh. */
export function keepInModule(instance: Pick<Instance, "empty">, given: Float32Array | Float64Array | Uint8Array): Store {
  const bytes = given instanceof Uint8Array;
  const kept = instance.empty([bytes ? Math.ceil(given.length / 4) : given.length], { dtype: given instanceof Float64Array ? "f64" : "f32" });
  const data = (): typeof given => {
    const all = kept.data;
    return bytes ? new Uint8Array(all.buffer, all.byteOffset, given.length) : all;
  };
  data().set(given);
  return {
    view: (first, shape, strides) => ({
      get data() {
        return data().subarray(first) as never;
      },
      shape,
      ...dtypeOf(given),
      ...(strides && { strides }),
    }),
    read: () => data().slice(),
    dispose: () => kept.dispose(),
  };
}

/** An engine, created at the first call: suites are collected synchronously. */
class EngineSubject implements Subject {
  readonly name: string;
  readonly kind: Backend;
  readonly homes: readonly Home[];
  readonly dtypes: readonly FloatType[];
  readonly propagates: boolean;
  readonly denormals: boolean;
  readonly #open: () => Promise<Engine>;
  #engine: Promise<Engine> | undefined;

  constructor(name: string, kind: Backend, open: () => Promise<Engine>) {
    const onGpu = kind === "webgpu";
    this.name = name;
    this.kind = kind;
    this.homes = ["array", onGpu ? "device" : "module"];
    // f64 is computed on the CPU, whatever the device.
    this.dtypes = onGpu ? ["f32"] : ["f32", "f64"];
    this.propagates = !onGpu;
    this.denormals = !onGpu;
    this.#open = open;
  }

  engine(): Promise<Engine> {
    return (this.#engine ??= this.#open());
  }

  async softmax(x: TensorLike, options?: SoftmaxOptions): Promise<Tensor<FloatType>> {
    return (await this.engine()).softmax(x, options);
  }

  async logSoftmax(x: TensorLike, options?: LogSoftmaxOptions): Promise<Tensor<FloatType>> {
    return (await this.engine()).logSoftmax(x, options);
  }

  async logSumExp(x: TensorLike, options?: LogSumExpOptions): Promise<Tensor<FloatType>> {
    return (await this.engine()).logSumExp(x, options);
  }

  async attention(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionOptions = {}): Promise<never> {
    return (await (await this.engine()).attention(q, k, v, options)) as never;
  }

  async attentionVarlen(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionVarlenOptions): Promise<Tensor<"f32"> | AttentionResultWithLse> {
    return (await this.engine()).attentionVarlen(q, k, v, options);
  }

  async attentionScores(q: TensorLike, k: TensorLike, options?: AttentionScoresOptions): Promise<Tensor<"f32">> {
    return (await this.engine()).attentionScores(q, k, options);
  }

  async mergeStates(parts: readonly PartialAttention[], options?: { readonly layout?: Layout }) {
    return (await this.engine()).mergeStates(parts, options);
  }

  async linear(x: TensorLike, weight: TensorLike, options?: LinearOptions): Promise<Tensor<"f32">> {
    return (await this.engine()).linear(x, weight, options);
  }

  async matmul(a: TensorLike, b: TensorLike, options?: MatmulOptions): Promise<Tensor<"f32">> {
    return (await this.engine()).matmul(a, b, options);
  }

  async topK(x: TensorLike, k: number, options?: TopKOptions): Promise<TopKResult> {
    return (await this.engine()).topK(x, k, options);
  }

  async topKSoftmax(logits: TensorLike, k: number, options?: TopKSoftmaxOptions): Promise<TopKSoftmaxResult> {
    return (await this.engine()).topKSoftmax(logits, k, options);
  }

  async sample(logits: TensorLike, options?: SampleOptions): Promise<SampleResult> {
    return (await this.engine()).sample(logits, options);
  }

  async crossEntropy(logits: TensorLike, targets: Targets, options: CrossEntropyOptions = {}): Promise<never> {
    return (await (await this.engine()).crossEntropy(logits, targets, options)) as never;
  }

  async keep(data: Float32Array | Float64Array | Uint8Array): Promise<Store> {
    const engine = await this.engine();
    if (this.kind === "wasm") return keepInModule({ empty: (shape, options) => engine.empty(shape, { ...options, device: "wasm" }) }, data);
    return this.#upload(engine, data, data);
  }

  async keepHalves(data: Uint16Array): Promise<Store> {
    return this.#upload(await this.engine(), data, { data, shape: [data.length], dtype: "f16" });
  }

  async #upload(engine: Engine, data: { readonly BYTES_PER_ELEMENT: number }, x: Parameters<Engine["upload"]>[0]): Promise<Store> {
    const kept = await engine.upload(x);
    return {
      view: (first, shape) =>
        ({ buffer: kept.buffer, dtype: kept.dtype, shape, offset: kept.offset + first * data.BYTES_PER_ELEMENT }) as unknown as TensorLike,
      read: async () => (await engine.download(kept)).data as Float32Array,
      dispose: () => kept.dispose(),
    };
  }

  /** On the CPU, an engine tells the size of its module's memory, not how much of it is in use. */
  async usedBytes(): Promise<number | undefined> {
    return (await this.engine()).info().webgpu?.bytes.inUse;
  }

  async read(result: Tensor<FloatType> | GpuTensor): Promise<Float32Array | Float64Array> {
    const { data } = "buffer" in result ? await (await this.engine()).download(result) : result;
    return data.slice() as Float32Array;
  }

  async dispose(): Promise<void> {
    (await this.#engine)?.dispose();
    this.#engine = undefined;
  }
}

/** Frees what a result occupies, unless it is an array. */
export function disposeOf(result: object): void {
  (result as { dispose?(): void }).dispose?.();
}

/** A subject that may be chosen by name, and why it is unavailable, if it is. */
interface Candidate {
  readonly name: string;
  readonly missing?: string | undefined;
  /** Whether CI may run without it. */
  readonly optional?: boolean;
  readonly make: () => Subject & { dispose?(): Promise<void> };
}

/**
 * How much of a GPU each subject sees. The first is the path that runs everywhere: no optional features, and limits that every device has.
 */
const CUTS: Readonly<Record<string, Cut>> = {
  webgpu: { features: [], lowestLimits: true },
  "webgpu-subgroups": { features: ["subgroups"] },
  "webgpu-f16": { features: ["shader-f16", "subgroups"] },
};

function plain(variant: Variant): Candidate {
  const missing = variant === "relaxed" && !hasRelaxedSimd() ? "this JavaScript engine has no relaxed SIMD" : undefined;
  return { name: variant, missing, make: () => subjectOf(createInstance(variant)) };
}

const FOUND: FoundGpu | undefined = CHOSEN.some((name) => name in CUTS) ? await findGpu() : undefined;

/** One for all suites of a process, so that they share its pipelines. */
const gpuSubjects = new Map<string, EngineSubject>();

function onGpu(name: string, cut: Cut): Candidate {
  const make = (): EngineSubject => {
    const gpu = FOUND?.gpu;
    if (gpu === undefined) throw new Error("there is no GPU");
    const subject = gpuSubjects.get(name) ?? new EngineSubject(name, "webgpu", () => createEngine({ device: "webgpu", gpu: cutGpu(gpu, cut) }));
    gpuSubjects.set(name, subject);
    return subject;
  };
  return { name, ...(FOUND && lackOf(FOUND, cut)), make };
}

/** What a GPU lacks for a cut. */
function lackOf(found: FoundGpu, { features }: Cut): Pick<Candidate, "missing" | "optional"> {
  if (found.gpu === undefined) return { missing: found.reason };
  const lacking = features.filter((feature) => !found.features.has(feature));
  if (lacking.length > 0) return { missing: `the adapter has no ${lacking.join(" and no ")}` };
  const wanted = process.env["ONEPASS_SUBGROUP_SIZE"];
  if (!features.includes("subgroups") || wanted === undefined || wanted === String(found.subgroupSize)) return {};
  // Subgroup sizes depend on the hardware.
  return { missing: `subgroups are of ${found.subgroupSize} here, not of ${wanted}`, optional: true };
}

// Once per process: the suites' titles do not tell what they run on.
if (FOUND !== undefined) {
  console.info(`${CHOSEN.join(" ")}: ${"reason" in FOUND ? `skipped, ${FOUND.reason}` : `${FOUND.description}, subgroups of ${FOUND.subgroupSize}`}`);
}

/** The CPU with three threads, which share even the smallest call. It starts at the first call. */
function onThreads(): Subject & { dispose(): Promise<void> } {
  let started: Promise<{ readonly subject: Subject; readonly cpu: Cpu }> | undefined;
  const subject = async (): Promise<Subject> => {
    started ??= import("./threads.ts").then(async ({ startCpu, subjectOfCpu }) => {
      const cpu = await startCpu(3);
      return { cpu, subject: subjectOfCpu(cpu) };
    });
    return (await started).subject;
  };
  return {
    name: "threads",
    kind: "wasm",
    homes: ["array", "module"],
    dtypes: ["f32", "f64"],
    propagates: true,
    denormals: true,
    softmax: async (x, options) => (await subject()).softmax(x, options),
    logSoftmax: async (x, options) => (await subject()).logSoftmax(x, options),
    logSumExp: async (x, options) => (await subject()).logSumExp(x, options),
    attention: (async (...args: Parameters<Subject["attention"]>) => (await subject()).attention(...args)) as Subject["attention"],
    attentionVarlen: async (...args) => (await subject()).attentionVarlen(...args),
    attentionScores: async (...args) => (await subject()).attentionScores(...args),
    mergeStates: async (...args) => (await subject()).mergeStates(...args),
    linear: async (...args) => (await subject()).linear(...args),
    matmul: async (...args) => (await subject()).matmul(...args),
    topK: async (...args) => (await subject()).topK(...args),
    topKSoftmax: async (...args) => (await subject()).topKSoftmax(...args),
    sample: async (...args) => (await subject()).sample(...args),
    crossEntropy: (async (...args: Parameters<Subject["crossEntropy"]>) => (await subject()).crossEntropy(...args)) as Subject["crossEntropy"],
    keep: async (data) => (await subject()).keep(data),
    usedBytes: async () => (await subject()).usedBytes?.(),
    read: async (result) => (await subject()).read(result),
    dispose: async () => (await started)?.cpu.dispose(),
  };
}

/** An engine on the CPU, with its default number of threads. */
const ENGINE: Candidate = { name: "engine", make: () => new EngineSubject("engine", "wasm", () => createEngine({ device: "wasm" })) };

const CANDIDATES: readonly Candidate[] = [
  plain("baseline"),
  plain("relaxed"),
  ENGINE,
  { name: "threads", make: onThreads },
  ...Object.entries(CUTS).map(([name, cut]) => onGpu(name, cut)),
];

/** First compiles take seconds on software drivers, so options should not lead to different pipelines. */
const MOST_PIPELINES = 60;

/**
 * A suite that runs once for each subject of this process. An unavailable subject is skipped, with its name and the reason. In CI,
 * where all are required, it is a failure.
 */
export function describeSubjects(title: string, body: (subject: Subject) => void): void {
  for (const name of CHOSEN) {
    const candidate = CANDIDATES.find((c) => c.name === name);
    if (candidate === undefined) throw new RangeError(`ONEPASS_SUBJECTS expected names out of ${CANDIDATES.map((c) => c.name).join(", ")}, got ${name}`);
    const { missing, optional, make } = candidate;
    describe(`${title}, ${name}`, () => {
      if (missing !== undefined) {
        test(`needs ${name}`, ({ skip }) => (optional === true ? skip(missing) : unavailable(skip, missing)));
        return;
      }
      const subject = make();
      body(subject);
      afterAll(async () => {
        expect(pipelineCount(), "pipelines that this process has compiled").toBeLessThanOrEqual(MOST_PIPELINES);
        if (!gpuSubjects.has(name)) await subject.dispose?.();
      });
    });
  }
}
