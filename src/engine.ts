import { type AttentionOptions, parseAttention } from "./attention.ts";
import { type AttentionCall, hostScoreCall } from "./attention-arguments.ts";
import { type AttentionScoresOptions, type ScoresCall, parseAttentionScores, runScoresCall } from "./attention-scores.ts";
import { type AttentionVarlenOptions, parseAttentionVarlen } from "./attention-varlen.ts";
import { type Cpu, createCpu } from "./backend/wasm/cpu.ts";
import type { Variant } from "./backend/wasm/features.ts";
import type { Gpu, GpuRecording } from "./backend/webgpu/gpu.ts";
import { calibrate } from "./calibrate.ts";
import { type Calibration, parseCalibration } from "./calibration.ts";
import { type Decision, type Device, type GpuState, decide } from "./dispatch.ts";
import { disposeSymbol } from "./dispose-symbol.ts";
import { emptyOn, type ModuleTensor } from "./empty.ts";
import { BackendError, DisposedError, describe } from "./errors.ts";
import type { AbortSignalLike, GPUCommandEncoderLike, GPUDeviceLike, GPULike, GpuInfo } from "./gpu-types.ts";
import { type LogSoftmaxOptions, parseLogSoftmax } from "./log-softmax.ts";
import { type LogSumExpOptions, parseLogSumExp } from "./log-sum-exp.ts";
import { type MergeCall, mergeOnHost, parseMergeStates } from "./merge-states.ts";
import { checkOptions, parseChoice } from "./options.ts";
import { prepareProbe } from "./prepare-probe.ts";
import type { FloatView } from "./row-arguments.ts";
import type { RowCall } from "./row-call.ts";
import { parseShape } from "./shape.ts";
import { type SoftmaxOptions, parseSoftmax } from "./softmax.ts";
import { type DTypeOf, DeviceArray, type GpuTensor, type ResidentTensor, type Tensor, type TensorLike } from "./tensor.ts";
import { type Assumed, type Work, attentionWork, mergeWork, rowWork, scoresWork, standIn } from "./work.ts";
import { copyOutput, ownsOutput } from "./write-output.ts";

/** Options of {@link createEngine}. */
export interface EngineOptions {
  /**
   * Where calls run: on the CPU, on a GPU (all that a GPU can: f64 stays on the CPU), or, by default, each where it is estimated to
   * end sooner.
   */
  readonly device?: "auto" | "wasm" | "webgpu";
  /** Threads of the CPU, the calling one included; "auto" (default) is one per core. */
  readonly threads?: "auto" | number;
  /**
   * A GPU (`navigator.gpu`, or that of the npm package `webgpu`) or a device of the caller's, which is never destroyed. In Node keep
   * the GPU that a device came from as long as the engine lives: Dawn crashes when it is collected.
   */
  readonly gpu?: GPULike | GPUDeviceLike;
  /** Which of the two binaries; the fastest that runs here when absent. */
  readonly variant?: Variant;
  /** What `engine.calibration` was on this machine with as many threads: spares a fifth of a second of measuring. */
  readonly calibration?: Calibration;
  /** Memory that the CPU's threads may share, in bytes. */
  readonly maxMemoryBytes?: number;
  /** Where "onepass/worker" is served, for pages whose policy forbids workers from blobs. */
  readonly workerUrl?: string | URLLike;
  /** A compiled module of "onepass/wasm/….wasm" (`WebAssembly.Module`), for pages whose policy forbids compiling here. */
  readonly module?: object;
}

/** A `URL`. */
export interface URLLike {
  /** The address. */
  readonly href: string;
}

const ENGINE_OPTIONS = new Set(["device", "threads", "gpu", "variant", "calibration", "maxMemoryBytes", "workerUrl", "module"]);

/** Options of a plain function as its engine method takes them: tensors may be on the GPU, and a signal may cancel the call. */
export type OnEngine<O> = { readonly [K in keyof O]: K extends "out" | "bias" | "mask" ? O[K] | GpuTensor : O[K] } & {
  /** Cancels the call between submissions or chunks; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignalLike;
};

/** What an engine's methods take: a tensor of the caller's memory, or one in a GPU buffer. */
export type EngineInput = TensorLike | GpuTensor;

/** Where a result is: on the GPU when the first argument is, else in a new array (or `out`). */
export type EngineResult<T, D extends "f32" | "f64" = "f32"> = T extends GpuTensor ? ResidentTensor<"f32"> : Tensor<D>;

/** Output, and with `returnLse: true` the log-sum-exp of every row. */
export type EngineAttention<Q, O> = O extends ReturnsLse ? EngineWithLse<Q> : EngineResult<Q>;

/** What attention gives with `returnLse: true`, and what merging such results gives. */
export interface EngineWithLse<Q> {
  /** The output. */
  readonly out: EngineResult<Q>;
  /** The log-sum-exp of every row, heads before length. */
  readonly lse: EngineResult<Q>;
}

/** Options that ask for the log-sum-exp. */
export interface ReturnsLse {
  /** Returns the log-sum-exp of every row as well. */
  readonly returnLse: true;
}

/** What an engine runs on, and why not on more. */
export interface EngineInfo {
  /** What the engine was created with. */
  readonly device: "auto" | Device;
  /** The CPU: there always is one. */
  readonly wasm: {
    /** The binary in use. */
    readonly variant: Variant;
    /** Threads that compute, the calling one included where it does. */
    readonly threads: number;
    /** Memory of the module, in bytes. */
    readonly memoryBytes: number;
  };
  /** Absent when there is no GPU. */
  readonly webgpu: GpuInfo | undefined;
  /** Why something is off: no GPU, fewer threads than asked for, a feature that the adapter lacks. */
  readonly off: readonly string[];
}

/** Why a call runs where it does. */
export interface Explanation extends Decision {
  /** Which kernel takes it: a row's bits depend on nothing else. */
  readonly kernel: Work["kernel"];
}

/** Operations that `explain` knows, by the plain functions' names. */
export type EngineOp = "softmax" | "logSoftmax" | "logSumExp" | "attention" | "attentionVarlen" | "attentionScores";

/** Options of {@link Engine.explain}: those of the operation, and what there is no data to tell. */
export type ExplainOptions = Record<string, unknown> & {
  /** Where the operands are. Default "host". */
  readonly place?: "host" | "gpu";
  /** Default "f32". */
  readonly dtype?: "f32" | "f64" | "f16";
};

/** Opens an engine. */
export async function openEngine(options: EngineOptions = {}): Promise<Engine> {
  checkOptions(options, ENGINE_OPTIONS);
  const device = parseChoice("device", options.device, ["auto", "wasm", "webgpu"]);
  const calibration = options.calibration === undefined ? undefined : parseCalibration(options.calibration);
  if (options.gpu !== undefined && !isGpu(options.gpu)) throw new TypeError(`"gpu" expected a GPU or a GPUDevice, got ${describe(options.gpu)}`);
  const { variant, threads, maxMemoryBytes, workerUrl, module } = options;
  const cpu = await createCpu({ variant, threads, maxMemoryBytes, workerUrl, module });
  const engine = new Engine(device, cpu, options.gpu, calibration);
  try {
    await engine.open();
  } catch (error) {
    engine.dispose();
    throw error;
  }
  return engine;
}

/**
 * The operations of the package, asynchronous, each call on the GPU or on the CPU. Made by `createEngine`.
 *
 * Arrays of the caller are read before a method returns, so they may be reused at once; `out` is written just before the promise
 * settles. Tensors that live where the engine computes (`empty`, `upload`, results of calls on the GPU) are used in place, in the order
 * of the calls. A call that fails rejects; nothing of the caller's has changed then.
 */
export class Engine {
  readonly #device: "auto" | Device;
  readonly #cpu: Cpu;
  readonly #gpuOption: GPULike | GPUDeviceLike | undefined;
  #calibration: Calibration | undefined;
  #gpu: Gpu | undefined;
  #gpuState: GpuState;
  #disposed = false;

  /** @internal */
  constructor(device: "auto" | Device, cpu: Cpu, gpu: GPULike | GPUDeviceLike | undefined, calibration: Calibration | undefined) {
    this.#device = device;
    this.#cpu = cpu;
    this.#gpuOption = gpu;
    this.#calibration = calibration;
    this.#gpuState = { usable: false, lost: false, reason: device === "wasm" ? 'the engine was created with device "wasm"' : "no GPU has been asked for yet" };
  }

  /** Looks for a GPU and measures what dispatch needs. @internal */
  async open(): Promise<void> {
    if (this.#device === "wasm") return;
    try {
      await this.#openGpu();
    } catch (error) {
      this.#gpuState = { usable: false, lost: false, reason: error instanceof Error ? error.message : String(error) };
      if (this.#device === "webgpu") throw new BackendError(`no GPU: ${this.#gpuState.reason}`, { cause: error });
    }
    const gpu = this.#gpu;
    if (this.#device !== "auto" || gpu === undefined) return;
    this.#calibration ??= await calibrate(
      (device, task) => prepareProbe(this.#cpu, gpu, device, task),
      () => performance.now() / 1000,
    );
  }

  /** Softmax along one axis; as the plain `softmax`. */
  async softmax<T extends EngineInput>(x: T, options: OnEngine<SoftmaxOptions> = {}): Promise<EngineResult<T, DTypeOf<T>>> {
    const { signal, ...rest } = options;
    return (await this.#rows(parseSoftmax(x, rest as SoftmaxOptions), signal)) as EngineResult<T, DTypeOf<T>>;
  }

  /** Log-softmax along one axis; as the plain `logSoftmax`. */
  async logSoftmax<T extends EngineInput>(x: T, options: OnEngine<LogSoftmaxOptions> = {}): Promise<EngineResult<T, DTypeOf<T>>> {
    const { signal, ...rest } = options;
    return (await this.#rows(parseLogSoftmax(x, rest as LogSoftmaxOptions), signal)) as EngineResult<T, DTypeOf<T>>;
  }

  /** log Σ exp(x) over one or more axes; as the plain `logSumExp`. */
  async logSumExp<T extends EngineInput>(x: T, options: OnEngine<LogSumExpOptions> = {}): Promise<EngineResult<T, DTypeOf<T>>> {
    const { signal, ...rest } = options;
    return (await this.#rows(parseLogSumExp(x, rest as LogSumExpOptions), signal)) as EngineResult<T, DTypeOf<T>>;
  }

  /** Scaled dot-product attention; as the plain `attention`. */
  async attention<Q extends EngineInput, O extends OnEngine<AttentionOptions>>(
    q: Q,
    k: EngineInput,
    v: EngineInput,
    options?: O,
  ): Promise<EngineAttention<Q, O>> {
    const { signal, ...rest } = options ?? ({} as OnEngine<AttentionOptions>);
    return (await this.#attention(parseAttention(q, k, v, rest as AttentionOptions), signal)) as EngineAttention<Q, O>;
  }

  /** Attention over a ragged batch; as the plain `attentionVarlen`. */
  async attentionVarlen<Q extends EngineInput, O extends OnEngine<AttentionVarlenOptions>>(
    q: Q,
    k: EngineInput,
    v: EngineInput,
    options: O,
  ): Promise<EngineAttention<Q, O>> {
    const { signal, ...rest } = options;
    return (await this.#attention(parseAttentionVarlen(q, k, v, rest as unknown as AttentionVarlenOptions), signal)) as EngineAttention<Q, O>;
  }

  /** The L × S matrix of scores; as the plain `attentionScores`. */
  async attentionScores<Q extends EngineInput>(q: Q, k: EngineInput, options: OnEngine<AttentionScoresOptions> = {}): Promise<EngineResult<Q>> {
    const { signal, ...rest } = options;
    return (await this.#scores(parseAttentionScores(q, k, rest as AttentionScoresOptions), signal)) as EngineResult<Q>;
  }

  /** Merges attention over disjoint parts of the keys; as the plain `mergeStates`. */
  async mergeStates<T extends EngineInput>(
    parts: readonly { readonly out: T; readonly lse: EngineInput }[],
    options: { readonly layout?: "bhld" | "blhd"; readonly signal?: AbortSignalLike } = {},
  ): Promise<EngineWithLse<T>> {
    const { signal, ...rest } = options;
    return (await this.#merge(parseMergeStates(parts, rest), signal)) as EngineWithLse<T>;
  }

  /**
   * An uninitialised tensor where the engine computes: in a GPU buffer, or in the memory that the CPU's threads share.
   *
   * @param shape - the size of each dimension
   * @param options - `device`: "webgpu" needs a GPU; by default that of an engine created with `device: "webgpu"`, else "wasm"
   * @returns a tensor that occupies memory until its `dispose()`
   */
  empty<D extends "f32" | "f64" = "f32">(shape: readonly number[], options?: { readonly dtype?: D; readonly device?: "wasm" }): ModuleTensor<D>;
  empty(shape: readonly number[], options: { readonly dtype?: "f32"; readonly device: "webgpu" }): ResidentTensor<"f32">;
  empty(shape: readonly number[], options: { readonly dtype?: "f32" | "f64"; readonly device?: Device } = {}): ModuleTensor | ResidentTensor<"f32"> {
    this.#check();
    checkOptions(options, EMPTY_OPTIONS);
    const device = parseChoice<Device>("device", options.device, this.#device === "webgpu" ? ["webgpu", "wasm"] : ["wasm", "webgpu"]);
    if (device === "wasm") return emptyOn(this.#cpu.runtime, shape, options.dtype === undefined ? {} : { dtype: options.dtype });
    parseChoice("dtype", options.dtype, ["f32"]);
    return this.#needGpu().empty(parseShape("shape", shape));
  }

  /**
   * Copies a tensor into a GPU buffer.
   *
   * @param x - f32, f16 (`Float16Array`, or a `Uint16Array` with `dtype: "f16"`), or the bytes of a mask
   * @returns a tensor that occupies GPU memory until its `dispose()`
   * @throws BackendError if there is no GPU
   */
  async upload(x: TensorLike | Uint8Array | { readonly data: Uint8Array; readonly shape: readonly number[] }): Promise<ResidentTensor> {
    this.#check();
    return this.#needGpu().upload(x);
  }

  /** Copies a tensor out of its GPU buffer, after all calls made so far. */
  async download(x: GpuTensor): Promise<Tensor> {
    this.#check();
    return this.#needGpu().download(x);
  }

  /**
   * Records operations on tensors in GPU buffers into a command encoder of the caller's, to be submitted by the caller.
   *
   * @param encoder - a `GPUCommandEncoder` of the engine's device
   * @returns the operations, synchronous; `dispose` it after the commands were submitted, which frees what they needed in between
   */
  encode(encoder: GPUCommandEncoderLike): EngineRecording {
    this.#check();
    return new EngineRecording(this.#needGpu().encode(encoder));
  }

  /**
   * Where a call would run, and why.
   *
   * @param op - the operation
   * @param shapes - the shape of each operand, by name: `x`; `q`, `k`, `v`; `bias`, `mask`
   * @param options - those of the operation, and where the operands are
   */
  explain(op: EngineOp, shapes: Readonly<Record<string, readonly number[]>>, options: ExplainOptions = {}): Explanation {
    this.#check();
    const { place = "host", dtype, ...rest } = options;
    const work = workOf(op, shapes, rest, { place, ...(dtype && { dtype }) });
    const decision = this.#decide(work);
    return { device: decision.device, reason: decision.reason, estimates: decision.estimates, kernel: work.kernel };
  }

  /** What the engine runs on, and why not on more. */
  info(): EngineInfo {
    this.#check();
    const { runtime, threads, reasons } = this.#cpu;
    const gpu = this.#gpu;
    const state = this.#gpuState;
    return {
      device: this.#device,
      wasm: { variant: runtime.variant, threads, memoryBytes: runtime.memory.byteLength },
      webgpu: gpu?.info(),
      off: [...(state.usable ? [] : [`WebGPU is off: ${state.reason}`]), ...(gpu?.off ?? []), ...reasons],
    };
  }

  /** What was measured of this machine, or given: plain JSON, to be kept for the next engine. Undefined where there is no choice. */
  get calibration(): Calibration | undefined {
    return this.#calibration;
  }

  /** Ends threads, frees GPU memory and what `empty` and `upload` gave. A device that was passed in stays. Disposing again does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#gpu?.dispose();
    this.#gpu = undefined;
    this.#cpu.dispose();
  }

  /** The same as {@link Engine.dispose}, for `using`. */
  [disposeSymbol](): void {
    this.dispose();
  }

  async #rows(call: RowCall, signal: AbortSignalLike | undefined): Promise<unknown> {
    const gpu = this.#choose(() => rowWork(call), signal);
    if (gpu !== undefined) return gpu.rows(call, signal);
    const out = ownsOutput(this.#cpu.runtime, call.out) ? call.out : undefined;
    const result = await this.#cpu.rows({ ...call, out }, signal as AbortSignal | undefined);
    return out === call.out ? result : copyOutput(call.out, result);
  }

  async #attention(call: AttentionCall, signal: AbortSignalLike | undefined): Promise<unknown> {
    const gpu = this.#choose(() => attentionWork(call), signal);
    if (gpu !== undefined) return gpu.attention(call, signal);
    const given = call.result.out;
    const out = ownsOutput(this.#cpu.runtime, given) ? given : undefined;
    const result = await this.#cpu.attention({ ...call, result: { ...call.result, out } }, signal as AbortSignal | undefined);
    if (out === given) return result;
    return "lse" in result ? { out: copyOutput(given, result.out), lse: result.lse } : copyOutput(given, result);
  }

  async #scores(call: ScoresCall, signal: AbortSignalLike | undefined): Promise<unknown> {
    const gpu = this.#choose(() => scoresWork(call), signal);
    return gpu === undefined ? this.#cpu.scores(hostScoreCall(call), runScoresCall, signal as AbortSignal | undefined) : gpu.attentionScores(call, signal);
  }

  async #merge(call: MergeCall, signal: AbortSignalLike | undefined): Promise<unknown> {
    const gpu = this.#choose(() => mergeWork(call), signal);
    if (gpu !== undefined) return gpu.mergeStates(call, signal);
    // Operands in the threads' memory may be what a call before this one writes.
    const waits = !this.#cpu.idle && call.parts.some(({ out, lse }) => this.#owns(out.data) || this.#owns(lse.data));
    if (!waits) return mergeOnHost(call);
    const parts = call.parts.map(({ out, lse }) => ({ out: this.#keep(out), lse: this.#keep(lse) }));
    return this.#cpu.inTurn(() => mergeOnHost({ ...call, parts }), signal as AbortSignal | undefined);
  }

  /** Whether numbers lie in the memory that the CPU's threads share. */
  #owns(data: FloatView["data"]): boolean {
    return !(data instanceof DeviceArray) && this.#cpu.runtime.memory.addressOf(data) >= 0;
  }

  /** An operand as it is now, unless it is used in place. */
  #keep(view: FloatView): FloatView {
    return view.data instanceof DeviceArray || this.#owns(view.data) ? view : { ...view, data: view.data.slice() };
  }

  /** The GPU if it takes a call, undefined for the CPU. */
  #choose(work: () => Work, signal: AbortSignalLike | undefined): Gpu | undefined {
    this.#check();
    if (signal?.aborted) throw signal.reason;
    if (this.#device === "wasm") return undefined;
    return this.#decide(work()).device === "webgpu" ? this.#needGpu() : undefined;
  }

  #decide(work: Work): Decision {
    return decide(work, { device: this.#device, gpu: this.#gpuState, calibration: this.#calibration });
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError("this engine has been disposed");
  }

  #needGpu(): Gpu {
    if (this.#gpu === undefined) throw new BackendError(`WebGPU is off: ${this.#gpuState.usable ? "the engine has no GPU" : this.#gpuState.reason}`);
    return this.#gpu;
  }

  /** Opens the GPU, and again whenever its device is lost and the GPU can give another one. Until then calls run on the CPU. */
  async #openGpu(): Promise<void> {
    const { openGpu } = await import("./backend/webgpu/gpu.ts");
    const gpu = await openGpu(this.#gpuOption);
    if (this.#disposed) {
      gpu.dispose();
      return;
    }
    const { emulated } = gpu.info();
    if (emulated && this.#device === "auto" && this.#gpuOption === undefined) {
      gpu.dispose();
      throw new BackendError("the adapter is an emulation on the CPU");
    }
    this.#gpu = gpu;
    this.#gpuState = { usable: true, maxBufferBytes: gpu.maxBufferBytes, maxSpanBytes: gpu.maxSpanBytes };
    void gpu.lost.then(async (reason) => {
      if (this.#gpu !== gpu || this.#disposed) return;
      const used = gpu.completed > 0;
      this.#gpu = undefined;
      this.#gpuState = { usable: false, lost: true, reason: `the device was lost: ${reason}` };
      gpu.dispose();
      // A device that was passed in is the only one; one that was lost before it completed anything would be lost again.
      if (!used || (this.#gpuOption !== undefined && "createBuffer" in this.#gpuOption)) return;
      try {
        await this.#openGpu();
      } catch (error) {
        this.#gpuState = { usable: false, lost: true, reason: `the device was lost: ${reason}; another could not be had: ${String(error)}` };
      }
    });
  }
}

function isGpu(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { requestAdapter, createBuffer } = value as { requestAdapter?: unknown; createBuffer?: unknown };
  return typeof requestAdapter === "function" || typeof createBuffer === "function";
}

const EMPTY_OPTIONS = new Set(["dtype", "device"]);

/** A result that stays on the GPU, or two of them with `returnLse: true`. */
export type RecordedAttention<O> = O extends ReturnsLse ? RecordedWithLse : ResidentTensor<"f32">;

/** The same as {@link EngineWithLse}, on the GPU. */
export interface RecordedWithLse {
  /** The output. */
  readonly out: ResidentTensor<"f32">;
  /** The log-sum-exp of every row, heads before length. */
  readonly lse: ResidentTensor<"f32">;
}

/**
 * Operations recorded into a command encoder of the caller's, by `engine.encode`. Options and errors are those of the engine's methods;
 * operands are read, and results are there, when the GPU runs the commands.
 */
export class EngineRecording {
  readonly #recording: GpuRecording;

  /** @internal */
  constructor(recording: GpuRecording) {
    this.#recording = recording;
  }

  /** Softmax along one axis. */
  softmax(x: EngineInput, options?: OnEngine<SoftmaxOptions>): ResidentTensor<"f32"> {
    return this.#recording.rows(parseSoftmax(x, options as SoftmaxOptions));
  }

  /** Log-softmax along one axis. */
  logSoftmax(x: EngineInput, options?: OnEngine<LogSoftmaxOptions>): ResidentTensor<"f32"> {
    return this.#recording.rows(parseLogSoftmax(x, options as LogSoftmaxOptions));
  }

  /** log Σ exp(x) over one or more axes. */
  logSumExp(x: EngineInput, options?: OnEngine<LogSumExpOptions>): ResidentTensor<"f32"> {
    return this.#recording.rows(parseLogSumExp(x, options as LogSumExpOptions));
  }

  /** Scaled dot-product attention. */
  attention<O extends OnEngine<AttentionOptions>>(q: EngineInput, k: EngineInput, v: EngineInput, options?: O): RecordedAttention<O> {
    return this.#recording.attention(parseAttention(q, k, v, options as AttentionOptions)) as RecordedAttention<O>;
  }

  /** Attention over a ragged batch. */
  attentionVarlen<O extends OnEngine<AttentionVarlenOptions>>(q: EngineInput, k: EngineInput, v: EngineInput, options: O): RecordedAttention<O> {
    return this.#recording.attention(parseAttentionVarlen(q, k, v, options as unknown as AttentionVarlenOptions)) as RecordedAttention<O>;
  }

  /** The L × S matrix of scores. */
  attentionScores(q: EngineInput, k: EngineInput, options?: OnEngine<AttentionScoresOptions>): ResidentTensor<"f32"> {
    return this.#recording.attentionScores(parseAttentionScores(q, k, options as AttentionScoresOptions));
  }

  /** Merges attention over disjoint parts of the keys. */
  mergeStates(parts: readonly { readonly out: EngineInput; readonly lse: EngineInput }[], options?: { readonly layout?: "bhld" | "blhd" }): RecordedWithLse {
    return this.#recording.mergeStates(parseMergeStates(parts, options));
  }

  /** Resolves when all shaders recorded so far are known to compile; rejects with BackendError if one does not. */
  check(): Promise<void> {
    return this.#recording.check();
  }

  /** Frees what the calls needed in between; after the commands were submitted. Results stay. */
  dispose(): void {
    this.#recording.dispose();
  }

  /** The same as {@link EngineRecording.dispose}, for `using`. */
  [disposeSymbol](): void {
    this.dispose();
  }
}

/** The work of a call without data: stand-ins go through the checks of a real one. */
function workOf(op: EngineOp, shapes: Readonly<Record<string, readonly number[]>>, options: Record<string, unknown>, assumed: Assumed): Work {
  const of = (name: string): GpuTensor => standIn(parseShape(name, shapes[name]), "f32");
  const extra: Record<string, unknown> = { ...options };
  if (shapes["bias"] !== undefined) extra["bias"] = of("bias");
  if (shapes["mask"] !== undefined) extra["mask"] = standIn(parseShape("mask", shapes["mask"]), "u8");
  switch (op) {
    case "softmax":
      return rowWork(parseSoftmax(of("x"), extra), assumed);
    case "logSoftmax":
      return rowWork(parseLogSoftmax(of("x"), extra), assumed);
    case "logSumExp":
      return rowWork(parseLogSumExp(of("x"), extra), assumed);
    case "attention":
      return attentionWork(parseAttention(of("q"), of("k"), of("v"), extra), assumed);
    case "attentionVarlen":
      return attentionWork(parseAttentionVarlen(of("q"), of("k"), of("v"), extra as unknown as AttentionVarlenOptions), assumed);
    case "attentionScores":
      return scoresWork(parseAttentionScores(of("q"), of("k"), extra), assumed);
    default:
      throw new RangeError(`"op" expected the name of an operation, got ${describe(op satisfies never)}`);
  }
}
