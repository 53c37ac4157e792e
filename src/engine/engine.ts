import { type AttentionOptions, parseAttention } from "../ops/attention.ts";
import type { Layout } from "../calls/head-layout.ts";
import { type AttentionScoresOptions, parseAttentionScores } from "../ops/attention-scores.ts";
import { type AttentionVarlenOptions, parseAttentionVarlen } from "../ops/attention-varlen.ts";
import { waitForTurn } from "../calls/call-order.ts";
import type { Cpu } from "../backend/wasm/drivers/cpu.ts";
import { keepIn } from "../backend/wasm/module/held-tensors.ts";
import type { Calibration } from "./calibration.ts";
import { type Decision, type Device, decide } from "./dispatch.ts";
import { disposeSymbol } from "../errors/dispose-symbol.ts";
import { emptyOn, type ModuleTensor } from "../ops/empty.ts";
import type { EngineGpu } from "./engine-gpu.ts";
import { ATTENTION, MERGE, ROWS, SCORES, type Operation } from "./operations.ts";
import { EngineRecording } from "./recording.ts";
import type {
  ByteTensor,
  Downloaded,
  EngineAttention,
  EngineInfo,
  EngineInput,
  EngineOp,
  EngineResult,
  EngineWithLse,
  Exactly,
  ExplainOptions,
  ExplainShapes,
  Explanation,
  OnEngine,
  OptionOf,
  UploadedType,
} from "./types.ts";
import { DisposedError, TooLargeError } from "../errors/errors.ts";
import { workOf } from "./explain.ts";
import type { GPUCommandEncoderLike, GPUDeviceLike } from "../tensor/gpu-types.ts";
import { type LogSoftmaxOptions, parseLogSoftmax } from "../ops/log-softmax.ts";
import { type LogSumExpOptions, parseLogSumExp } from "../ops/log-sum-exp.ts";
import type { ReplaceOutput } from "../calls/map-call.ts";
import { parseMergeStates } from "../ops/merge-states.ts";
import { checkOptions, parseChoice } from "../errors/options.ts";
import { parseShape } from "../tensor/shape.ts";
import { type SoftmaxOptions, parseSoftmax } from "../ops/softmax.ts";
import { type InPlace, SideOrder, usedInPlace } from "./side-order.ts";
import { takeSignal, type AbortSignalLike } from "../errors/signal.ts";
import type { DType, GpuTensor, ResidentTensor, TensorLike } from "../tensor/tensor.ts";
import type { Work } from "../calls/work.ts";
import { holdOutput } from "./write-output.ts";

const EMPTY_OPTIONS = new Set(["dtype", "device"]);

/**
 * The operations of the package, asynchronous, each call on the GPU or on the CPU. Made by `createEngine`.
 *
 * Arrays of the caller are read before a method returns, so they may be reused at once; `out` is written just before the promise
 * settles. Tensors that live where the engine computes (`empty`, `upload`, results of calls on the GPU) are used in place, in the order
 * of the calls. A call that fails rejects; arrays of the caller's are then as they were.
 *
 * Beside what the plain functions throw, calls reject with UnsupportedError where no device of the engine computes them, BackendError
 * where one fails (no memory is left, a GPU is lost), DisposedError after `dispose`, TypeError if `signal` is none, and the reason of a
 * `signal` that is aborted.
 */
export class Engine {
  readonly #device: "auto" | Device;
  readonly #cpu: Cpu;
  readonly #gpu: EngineGpu;
  readonly #order = new SideOrder();
  #disposed = false;

  /** @internal */
  constructor(device: "auto" | Device, cpu: Cpu, gpu: EngineGpu) {
    this.#device = device;
    this.#cpu = cpu;
    this.#gpu = gpu;
  }

  /**
   * Softmax along one axis.
   *
   * @param x - as for the plain `softmax`, and f16 on a GPU
   * @param options - those of `softmax`; `bias`, `mask` and `out` may be on the GPU, and a `signal` may cancel the call
   * @returns `out` when given, else a new tensor where `x` is
   * @throws (as a rejection, like every method) what `softmax` throws, and what the class says
   */
  async softmax<T extends EngineInput, P extends OnEngine<SoftmaxOptions> = object>(
    x: T,
    options?: Exactly<OnEngine<SoftmaxOptions>, P>,
  ): Promise<EngineResult<T, OptionOf<P, "out">>> {
    const { signal, rest } = takeSignal(options);
    return (await this.#run(ROWS, parseSoftmax(x, rest), signal)) as never;
  }

  /**
   * Log-softmax along one axis.
   *
   * @param x - as for the plain `logSoftmax`, and f16 on a GPU
   * @param options - those of `logSoftmax`; `bias`, `mask` and `out` may be on the GPU, and a `signal` may cancel the call
   * @returns `out` when given, else a new tensor where `x` is
   * @throws what `logSoftmax` throws, and what the class says
   */
  async logSoftmax<T extends EngineInput, P extends OnEngine<LogSoftmaxOptions> = object>(
    x: T,
    options?: Exactly<OnEngine<LogSoftmaxOptions>, P>,
  ): Promise<EngineResult<T, OptionOf<P, "out">>> {
    const { signal, rest } = takeSignal(options);
    return (await this.#run(ROWS, parseLogSoftmax(x, rest), signal)) as never;
  }

  /**
   * log Σ exp(x) over one or more axes.
   *
   * @param x - as for the plain `logSumExp`, and f16 on a GPU
   * @param options - those of `logSumExp`; `bias`, `mask` and `out` may be on the GPU, and a `signal` may cancel the call
   * @returns `out` when given, else a new tensor where `x` is
   * @throws what `logSumExp` throws, and what the class says
   */
  async logSumExp<T extends EngineInput, P extends OnEngine<LogSumExpOptions> = object>(
    x: T,
    options?: Exactly<OnEngine<LogSumExpOptions>, P>,
  ): Promise<EngineResult<T, OptionOf<P, "out">>> {
    const { signal, rest } = takeSignal(options);
    return (await this.#run(ROWS, parseLogSumExp(x, rest), signal)) as never;
  }

  /**
   * Scaled dot-product attention.
   *
   * @param q - queries, as for the plain `attention`; all three may be f16 on a GPU
   * @param k - keys
   * @param v - values
   * @param options - those of `attention`; `bias`, `mask` and `out` may be on the GPU, and a `signal` may cancel the call
   * @returns `out` when given, else a new tensor where `q` is; with `returnLse` both that and the log-sum-exp, where `q` is
   * @throws what `attention` throws, and what the class says
   */
  async attention<Q extends EngineInput, P extends OnEngine<AttentionOptions> = object>(
    q: Q,
    k: EngineInput,
    v: EngineInput,
    options?: Exactly<OnEngine<AttentionOptions>, P>,
  ): Promise<EngineAttention<Q, P>> {
    const { signal, rest } = takeSignal(options);
    return (await this.#run(ATTENTION, parseAttention(q, k, v, rest), signal)) as never;
  }

  /** The name that PyTorch and others use for {@link Engine.attention}. */
  scaledDotProductAttention<Q extends EngineInput, P extends OnEngine<AttentionOptions> = object>(
    q: Q,
    k: EngineInput,
    v: EngineInput,
    options?: Exactly<OnEngine<AttentionOptions>, P>,
  ): Promise<EngineAttention<Q, P>> {
    return this.attention(q, k, v, options);
  }

  /**
   * Attention over a ragged batch.
   *
   * @param q - queries, as for the plain `attentionVarlen`; all three may be f16 on a GPU
   * @param k - keys
   * @param v - values
   * @param options - those of `attentionVarlen`; `out` may be on the GPU, and a `signal` may cancel the call
   * @returns as {@link Engine.attention}
   * @throws what `attentionVarlen` throws, and what the class says
   */
  async attentionVarlen<Q extends EngineInput, P extends OnEngine<AttentionVarlenOptions>>(
    q: Q,
    k: EngineInput,
    v: EngineInput,
    options: Exactly<OnEngine<AttentionVarlenOptions>, P>,
  ): Promise<EngineAttention<Q, P>> {
    const { signal, rest } = takeSignal(options);
    return (await this.#run(ATTENTION, parseAttentionVarlen(q, k, v, rest), signal)) as never;
  }

  /**
   * The L × S matrix of scores.
   *
   * @param q - queries, as for the plain `attentionScores`; both may be f16 on a GPU
   * @param k - keys
   * @param options - those of `attentionScores`; `bias` and `mask` may be on the GPU, and a `signal` may cancel the call
   * @returns a new tensor where `q` is
   * @throws what `attentionScores` throws, and what the class says
   */
  async attentionScores<Q extends EngineInput>(q: Q, k: EngineInput, options?: OnEngine<AttentionScoresOptions>): Promise<EngineResult<Q, undefined, "f32">> {
    const { signal, rest } = takeSignal(options);
    return (await this.#run(SCORES, parseAttentionScores(q, k, rest), signal)) as never;
  }

  /**
   * Merges attention over disjoint parts of the keys.
   *
   * @param parts - as for the plain `mergeStates`
   * @param options - those of `mergeStates`, and a `signal` that may cancel the call
   * @returns output and log-sum-exp, new tensors where the output of the first part is
   * @throws what `mergeStates` throws, and what the class says
   */
  async mergeStates<T extends EngineInput>(
    parts: readonly { readonly out: T; readonly lse: EngineInput }[],
    options?: OnEngine<{ readonly layout?: Layout }>,
  ): Promise<EngineWithLse<T>> {
    const { signal, rest } = takeSignal(options);
    return (await this.#run(MERGE, parseMergeStates(parts, rest), signal)) as never;
  }

  /**
   * An uninitialised tensor where the engine computes: in a GPU buffer, or in the memory that the CPU's threads share.
   *
   * @param shape - the size of each dimension
   * @param options - `dtype`: "f32" (default), or "f64" on the CPU; `device`: by default "webgpu" for an engine that was created with
   *   `device: "webgpu"`, else "wasm"
   * @returns a tensor that occupies memory until its `dispose()`, or the engine's
   * @throws TypeError or RangeError if an argument is wrong, BackendError if there is no GPU or no memory is left, DisposedError
   */
  empty<D extends "f32" | "f64" = "f32">(shape: readonly number[], options: { readonly dtype?: D; readonly device: "wasm" }): ModuleTensor<D>;
  empty(shape: readonly number[], options: { readonly dtype?: "f32"; readonly device: "webgpu" }): ResidentTensor<"f32">;
  empty<D extends "f32" | "f64" = "f32">(
    shape: readonly number[],
    options?: { readonly dtype?: D; readonly device?: undefined },
  ): ModuleTensor<D> | ResidentTensor<"f32">;
  empty(shape: readonly number[], options: { readonly dtype?: "f32" | "f64"; readonly device?: Device } = {}): ModuleTensor | ResidentTensor<"f32"> {
    this.#check();
    checkOptions(options, EMPTY_OPTIONS);
    const device = parseChoice<Device>("device", options.device, this.#device === "webgpu" ? ["webgpu", "wasm"] : ["wasm", "webgpu"]);
    if (device === "wasm") return emptyOn(this.#cpu.runtime, shape, options.dtype === undefined ? {} : { dtype: options.dtype });
    parseChoice("dtype", options.dtype, ["f32"]);
    return this.#gpu.need().empty(parseShape("shape", shape));
  }

  /**
   * Copies a tensor into a GPU buffer.
   *
   * @param x - f32, f16 (`Float16Array`, or a `Uint16Array` with `dtype: "f16"`), or the bytes of a mask
   * @returns a tensor that occupies GPU memory until its `dispose()`
   * @throws TypeError, RangeError or UnsupportedError if it cannot be one on the GPU, BackendError if there is no GPU
   */
  async upload<X extends TensorLike | Uint8Array | ByteTensor>(x: X): Promise<ResidentTensor<UploadedType<X>>> {
    this.#check();
    const gpu = this.#gpu.need();
    const { memory } = this.#cpu.runtime;
    const data: unknown = ArrayBuffer.isView(x) ? x : (x as { readonly data?: unknown } | null | undefined)?.data;
    if (!ArrayBuffer.isView(data) || memory.addressOf(data) < 0) return (await gpu.upload(x)) as never;
    const held = memory.hold(data as Float32Array);
    const start = (): Promise<ResidentTensor> => gpu.upload(ArrayBuffer.isView(x) ? held() : { ...x, data: held() });
    return (await this.#inOrder("webgpu", { reads: true, writes: false, buffers: false }, undefined, start)) as never;
  }

  /**
   * Copies a tensor out of its GPU buffer, after all calls made so far.
   *
   * @param x - a tensor in a GPU buffer
   * @returns a tensor in a new array
   * @throws TypeError or RangeError if it is none, BackendError if there is no GPU
   */
  async download<D extends DType>(x: GpuTensor<D>): Promise<Downloaded<D>> {
    this.#check();
    const gpu = this.#gpu.need();
    return (await this.#inOrder("webgpu", { reads: false, writes: false, buffers: true }, undefined, () => gpu.download(x))) as never;
  }

  /**
   * Records operations on tensors in GPU buffers into a command encoder of the caller's, to be submitted by the caller. A recording waits
   * for no call of the engine: await those that write what it reads.
   *
   * @param encoder - a `GPUCommandEncoder` of {@link Engine.device}
   * @returns the operations, synchronous; `dispose` it after the commands were submitted, which frees what they needed in between
   * @throws BackendError if there is no GPU, DisposedError
   */
  encode(encoder: GPUCommandEncoderLike): EngineRecording {
    this.#check();
    return new EngineRecording(this.#gpu.need().encode(encoder));
  }

  /**
   * Where a call would run, and why, without making it.
   *
   * @param op - the operation, by the plain function's name
   * @param shapes - the shapes of its tensors, by name: those that it needs, and of `bias` and `mask` those that it is to have
   * @param options - those of the operation, and where the operands are, of which dtype, and for `mergeStates` how many
   * @returns the device with its reason, estimated times where there is a calibration, and the kernel
   * @throws what the call would throw before it runs, and TypeError or RangeError for arguments that only this has
   */
  explain(op: EngineOp, shapes: ExplainShapes, options?: ExplainOptions): Explanation {
    this.#check();
    const work = workOf(op, shapes, options);
    const { device, reason, estimates } = this.#decide(work);
    return { device, reason, estimates, kernel: work.kernel };
  }

  /** What the engine runs on, and why not on more. */
  info(): EngineInfo {
    this.#check();
    const { variant, threads, memoryBytes, reasons } = this.#cpu;
    const { current: gpu, state } = this.#gpu;
    return {
      device: this.#device,
      wasm: { variant, threads, memoryBytes },
      webgpu: gpu?.info(),
      off: [...(state.usable ? [] : [`WebGPU is off: ${state.reason}`]), ...(gpu?.off ?? []), ...reasons],
    };
  }

  /** The `GPUDevice` that calls run on, for buffers and encoders of the caller's; undefined without one. Another after a device was lost. */
  get device(): GPUDeviceLike | undefined {
    return this.#gpu.current?.device;
  }

  /** What was measured of this machine, or given: plain JSON, to be kept for the next engine. Undefined where there is no choice. */
  get calibration(): Calibration | undefined {
    return this.#gpu.calibration;
  }

  /**
   * Ends threads and frees GPU memory. Calls that have not settled reject; tensors of `empty`, `upload` and calls on the GPU are gone:
   * `data` throws DisposedError, buffers are destroyed. A device that was passed in stays. Disposing again does nothing.
   */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#gpu.dispose();
    this.#cpu.dispose();
  }

  /** The same as {@link Engine.dispose}, for `using`. */
  [disposeSymbol](): void {
    this.dispose();
  }

  /** Runs a call on the side that takes it. */
  async #run<C>(operation: Operation<C>, given: C, signal: AbortSignalLike | undefined): Promise<unknown> {
    const { workOf, map, onGpu, onCpu } = operation;
    const { memory } = this.#cpu.runtime;
    this.#check();
    if (signal?.aborted) throw signal.reason;
    const used = usedInPlace(memory, given, map);
    if (this.#device === "wasm" && !used.buffers) return onCpu(this.#cpu, given, signal);
    const work = workOf(given);
    const { device } = this.#decide(work);
    const gpu = device === "webgpu" ? this.#gpu.need() : undefined;
    const hold: ReplaceOutput = (out) => holdOutput(memory, out);
    let call = gpu === undefined ? given : map(given, (tensor) => tensor, hold);
    const start = (): unknown => {
      if (gpu === undefined) return onCpu(this.#cpu, call, signal);
      try {
        return onGpu(gpu, call, signal);
      } catch (error) {
        // What dispatch did not foresee, where the CPU can do it: nothing has been submitted.
        if (!(error instanceof TooLargeError) || this.#device !== "auto" || used.buffers || work.dtype !== "f32") throw error;
        return onCpu(this.#cpu, call, signal);
      }
    };
    return this.#inOrder(device, used, signal, start, () => (call = map(given, keepIn(memory), hold)));
  }

  /** Starts something in the order of the calls; `keep` reads the caller's arrays if that is not at once. */
  async #inOrder<T>(side: Device, used: InPlace, signal: AbortSignalLike | undefined, start: () => T | Promise<T>, keep?: () => void): Promise<T> {
    const place = this.#order.enter(side, used);
    if (place === undefined) return start();
    const { memory } = this.#cpu.runtime;
    memory.enter();
    try {
      if (place.turn !== undefined) {
        keep?.();
        await waitForTurn(place.turn, signal);
        this.#check();
      }
      const result = start();
      place.begun();
      return await result;
    } finally {
      place.begun();
      place.ended();
      memory.leave();
    }
  }

  #decide(work: Work): Decision {
    return decide(work, { device: this.#device, gpu: this.#gpu.state, calibration: this.#gpu.calibration });
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError("this engine has been disposed");
  }
}
