import { waitForTurn } from "../calls/call-order.ts";
import { type Call, type UsedArrays, arraysOf, holdMemory, operandsOf, snapshot } from "../calls/call.ts";
import type { Layout } from "../calls/head-layout.ts";
import { type Work, workOf } from "../calls/work.ts";
import type { Cpu } from "../backend/wasm/drivers/cpu.ts";
import { disposeSymbol } from "../errors/dispose-symbol.ts";
import { DisposedError, TooLargeError } from "../errors/errors.ts";
import { checkOptions, parseChoice } from "../errors/options.ts";
import { type AbortSignalLike, takeSignal } from "../errors/signal.ts";
import type { RotaryOptions } from "../ops/apply-rotary.ts";
import type { AttentionScoresOptions } from "../ops/attention-scores.ts";
import type { AttentionVarlenOptions } from "../ops/attention-varlen.ts";
import type { AttentionOptions } from "../ops/attention.ts";
import { KVCache, type KVCacheOptions } from "../ops/kv-cache.ts";
import { type ModuleTensor, emptyOn } from "../ops/empty.ts";
import type { LinearOptions } from "../ops/linear.ts";
import type { LogSoftmaxOptions } from "../ops/log-softmax.ts";
import type { LogSumExpOptions } from "../ops/log-sum-exp.ts";
import type { MatmulOptions } from "../ops/matmul.ts";
import type { CrossEntropyOptions, CrossEntropyResult, Targets } from "../ops/cross-entropy.ts";
import type { SampleOptions, SampleResult } from "../ops/sample.ts";
import type { SoftmaxOptions } from "../ops/softmax.ts";
import type { TopKOptions, TopKResult } from "../ops/top-k.ts";
import type { TopKSoftmaxOptions, TopKSoftmaxResult } from "../ops/top-k-softmax.ts";
import { ArrayHandle, type DType } from "../tensor/array.ts";
import type { GPUCommandEncoderLike, GPUDeviceLike } from "../tensor/gpu-types.ts";
import { parseShape } from "../tensor/shape.ts";
import { type GpuTensor, type ResidentTensor, type Tensor, type TensorLike, deviceView, toView } from "../tensor/tensor.ts";
import type { Calibration } from "./calibration.ts";
import { type Decision, type Device, decide } from "./dispatch.ts";
import type { EngineGpu } from "./engine-gpu.ts";
import { EngineKVCache } from "./engine-kv-cache.ts";
import { workOfShapes } from "./explain.ts";
import { parseCall } from "./operations.ts";
import { EngineRecording } from "./recording.ts";
import { SideOrder, usedInPlace } from "./side-order.ts";
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
  OnCpu,
  OnEngine,
  OptionOf,
  UploadedType,
} from "./types.ts";

const EMPTY_OPTIONS = new Set(["dtype", "device"]);

/**
 * The package's operations, asynchronous. Each call runs on the GPU or on the CPU. Made by `createEngine`.
 *
 * Methods read the caller's arrays before they return, so you can reuse those at once. `out` is written just before the promise settles.
 * Tensors that live where the engine computes (`empty`, `upload`, results of GPU calls) are used in place, in call order. A call that fails
 * rejects and leaves the caller's arrays unchanged.
 *
 * Besides the errors of the plain functions, calls reject with UnsupportedError if no device of the engine can compute them, BackendError
 * if a device fails (out of memory, GPU lost), DisposedError after `dispose`, TypeError if `signal` is not an AbortSignal, and the signal's
 * reason if it is aborted.
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
   * @param x - as for the plain `softmax`; a GPU takes f32 and f16
   * @param options - as for the plain `softmax`; `bias`, `mask` and `out` may be on the GPU, and a `signal` can cancel the call
   * @returns `out` if given, else a new tensor, on the GPU if `x` is
   * @throws (as a rejection, like every method) the errors of `softmax` and those listed for the class
   */
  softmax<T extends EngineInput, P extends OnEngine<SoftmaxOptions> = object>(
    x: T,
    options?: Exactly<OnEngine<SoftmaxOptions>, P>,
  ): Promise<EngineResult<T, OptionOf<P, "out">>> {
    return this.#run("softmax", [x], options) as Promise<never>;
  }

  /**
   * Log-softmax along one axis.
   *
   * @param x - as for the plain `logSoftmax`; a GPU takes f32 and f16
   * @param options - as for the plain `logSoftmax`; `bias`, `mask` and `out` may be on the GPU, and a `signal` can cancel the call
   * @returns `out` if given, else a new tensor, on the GPU if `x` is
   * @throws the errors of `logSoftmax` and those listed for the class
   */
  logSoftmax<T extends EngineInput, P extends OnEngine<LogSoftmaxOptions> = object>(
    x: T,
    options?: Exactly<OnEngine<LogSoftmaxOptions>, P>,
  ): Promise<EngineResult<T, OptionOf<P, "out">>> {
    return this.#run("logSoftmax", [x], options) as Promise<never>;
  }

  /**
   * log Σ exp(x) over one or more axes.
   *
   * @param x - as for the plain `logSumExp`; a GPU takes f32 and f16
   * @param options - as for the plain `logSumExp`; `bias`, `mask` and `out` may be on the GPU, and a `signal` can cancel the call
   * @returns `out` if given, else a new tensor, on the GPU if `x` is
   * @throws the errors of `logSumExp` and those listed for the class
   */
  logSumExp<T extends EngineInput, P extends OnEngine<LogSumExpOptions> = object>(
    x: T,
    options?: Exactly<OnEngine<LogSumExpOptions>, P>,
  ): Promise<EngineResult<T, OptionOf<P, "out">>> {
    return this.#run("logSumExp", [x], options) as Promise<never>;
  }

  /**
   * Scaled dot-product attention.
   *
   * @param q - queries, as for the plain `attention`; a GPU takes f32, or f16 for all three
   * @param k - keys
   * @param v - values
   * @param options - as for the plain `attention`; `bias`, `mask` and `out` may be on the GPU, and a `signal` can cancel the call
   * @returns `out` if given, else a new tensor, on the GPU if `q` is; with `returnLse`, that and the log-sum-exp, on the GPU if `q` is
   * @throws the errors of `attention` and those listed for the class
   */
  attention<Q extends EngineInput, P extends OnEngine<AttentionOptions> = object>(
    q: Q,
    k: EngineInput,
    v: EngineInput,
    options?: Exactly<OnEngine<AttentionOptions>, P>,
  ): Promise<EngineAttention<Q, P>> {
    return this.#run("attention", [q, k, v], options) as Promise<never>;
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
   * @param q - queries, as for the plain `attentionVarlen`; a GPU takes f32, or f16 for all three
   * @param k - keys
   * @param v - values
   * @param options - as for the plain `attentionVarlen`; `out` may be on the GPU, and a `signal` can cancel the call
   * @returns the same as {@link Engine.attention}
   * @throws the errors of `attentionVarlen` and those listed for the class
   */
  attentionVarlen<Q extends EngineInput, P extends OnEngine<AttentionVarlenOptions>>(
    q: Q,
    k: EngineInput,
    v: EngineInput,
    options: Exactly<OnEngine<AttentionVarlenOptions>, P>,
  ): Promise<EngineAttention<Q, P>> {
    return this.#run("attentionVarlen", [q, k, v], options) as Promise<never>;
  }

  /**
   * The L × S matrix of scores.
   *
   * @param q - queries, as for the plain `attentionScores`; a GPU takes f32, or f16 for both
   * @param k - keys
   * @param options - as for the plain `attentionScores`; `bias` and `mask` may be on the GPU, and a `signal` can cancel the call
   * @returns a new tensor, on the GPU if `q` is
   * @throws the errors of `attentionScores` and those listed for the class
   */
  attentionScores<Q extends EngineInput>(q: Q, k: EngineInput, options?: OnEngine<AttentionScoresOptions>): Promise<EngineResult<Q, undefined, "f32">> {
    return this.#run("attentionScores", [q, k], options) as Promise<never>;
  }

  /**
   * Rotary position embedding, on the CPU.
   *
   * @param x - as for the plain `applyRotary`
   * @param options - as for the plain `applyRotary`, plus a `signal` that can cancel the call
   * @returns `out` if given, else a new tensor
   * @throws the errors of `applyRotary` and those listed for the class
   */
  applyRotary(x: TensorLike, options?: OnEngine<RotaryOptions>): Promise<Tensor<"f32">> {
    return this.#run("applyRotary", [x], options) as Promise<never>;
  }

  /**
   * Merges attention over disjoint parts of the keys.
   *
   * @param parts - as for the plain `mergeStates`
   * @param options - as for the plain `mergeStates`, plus a `signal` that can cancel the call
   * @returns output and log-sum-exp as new tensors, on the GPU if the first part's output is
   * @throws the errors of `mergeStates` and those listed for the class
   */
  mergeStates<T extends EngineInput>(
    parts: readonly { readonly out: T; readonly lse: EngineInput }[],
    options?: OnEngine<{ readonly layout?: Layout }>,
  ): Promise<EngineWithLse<T>> {
    return this.#run("mergeStates", [parts], options) as Promise<never>;
  }

  /**
   * The `k` largest elements along one axis. Computed on the CPU; a tensor on the GPU is downloaded in one copy.
   *
   * @param x - as for the plain `topK`, or a tensor on the GPU
   * @param k - how many
   * @param options - as for the plain `topK`, plus a `signal` that can cancel the call
   * @returns values and indices, in arrays
   * @throws the errors of `topK` and those listed for the class
   */
  topK(x: EngineInput, k: number, options?: OnCpu<TopKOptions>): Promise<TopKResult> {
    return this.#run("topK", [x, k], options) as Promise<never>;
  }

  /**
   * The `k` most probable elements under the softmax of the whole row. Computed on the CPU; logits on the GPU are downloaded in one copy.
   *
   * @param logits - as for the plain `topKSoftmax`, or a tensor on the GPU
   * @param k - how many
   * @param options - as for the plain `topKSoftmax`, plus a `signal` that can cancel the call
   * @returns indices and logProbs, in arrays
   * @throws the errors of `topKSoftmax` and those listed for the class
   */
  topKSoftmax(logits: EngineInput, k: number, options?: OnCpu<TopKSoftmaxOptions>): Promise<TopKSoftmaxResult> {
    return this.#run("topKSoftmax", [logits, k], options) as Promise<never>;
  }

  /**
   * x · weightᵀ + bias. Computed on the CPU; tensors on the GPU are downloaded in one copy each.
   *
   * @param x - as for the plain `linear`, or a tensor on the GPU
   * @param weight - likewise
   * @param options - as for the plain `linear`, plus a `signal` that can cancel the call
   * @returns a tensor in an array
   * @throws the errors of `linear` and those listed for the class
   */
  linear(x: EngineInput, weight: EngineInput, options?: OnCpu<LinearOptions>): Promise<Tensor<"f32">> {
    return this.#run("linear", [x, weight], options) as Promise<never>;
  }

  /**
   * Matrix products. Computed on the CPU; tensors on the GPU are downloaded in one copy each.
   *
   * @param a - as for the plain `matmul`, or a tensor on the GPU
   * @param b - likewise
   * @param options - as for the plain `matmul`, plus a `signal` that can cancel the call
   * @returns a tensor in an array
   * @throws the errors of `matmul` and those listed for the class
   */
  matmul(a: EngineInput, b: EngineInput, options?: OnCpu<MatmulOptions>): Promise<Tensor<"f32">> {
    return this.#run("matmul", [a, b], options) as Promise<never>;
  }

  /**
   * Draws the next token of each row of logits. Computed on the CPU; logits on the GPU are downloaded in one copy.
   *
   * @param logits - as for the plain `sample`, or a tensor on the GPU
   * @param options - as for the plain `sample`, plus a `signal` that can cancel the call
   * @returns tokens and their log-probabilities, in arrays
   * @throws the errors of `sample` and those listed for the class
   */
  sample(logits: EngineInput, options?: OnCpu<SampleOptions>): Promise<SampleResult> {
    return this.#run("sample", [logits], options) as Promise<never>;
  }

  /**
   * Cross-entropy of logits with the classes they should have predicted. Computed on the CPU; logits on the GPU are downloaded in one copy.
   *
   * @param logits - as for the plain `crossEntropy`, or a tensor on the GPU
   * @param targets - the class of each row
   * @param options - as for the plain `crossEntropy`, plus a `signal` that can cancel the call
   * @returns the loss, and with `returnGrad` that and the gradient, in arrays
   * @throws the errors of `crossEntropy` and those listed for the class
   */
  crossEntropy<P extends OnCpu<CrossEntropyOptions> = object>(
    logits: EngineInput,
    targets: Targets,
    options?: Exactly<OnCpu<CrossEntropyOptions>, P>,
  ): Promise<OptionOf<P, "returnGrad"> extends true ? CrossEntropyResult : Tensor<"f32">> {
    return this.#run("crossEntropy", [logits, targets], options) as Promise<never>;
  }

  /**
   * Makes an uninitialised tensor where the engine computes: in a GPU buffer, or in the memory that the CPU threads share.
   *
   * @param shape - the size of each dimension
   * @param options - `dtype`: "f32" (default), or any other on the CPU; `device`: by default "webgpu" for an engine created with
   *   `device: "webgpu"`, else "wasm"
   * @returns a tensor that takes up memory until you `dispose` it or the engine
   * @throws TypeError or RangeError if an argument is wrong, BackendError if there is no GPU or no memory is left, DisposedError after `dispose`
   */
  empty<D extends DType = "f32">(shape: Iterable<number | bigint>, options: { readonly dtype?: D; readonly device: "wasm" }): ModuleTensor<D>;
  empty(shape: Iterable<number | bigint>, options: { readonly dtype?: "f32"; readonly device: "webgpu" }): ResidentTensor<"f32">;
  empty<D extends DType = "f32">(
    shape: Iterable<number | bigint>,
    options?: { readonly dtype?: D; readonly device?: undefined },
  ): ModuleTensor<D> | ResidentTensor<"f32">;
  empty(shape: Iterable<number | bigint>, options: { readonly dtype?: DType; readonly device?: Device } = {}): ModuleTensor<DType> | ResidentTensor<"f32"> {
    this.#check();
    checkOptions(options, EMPTY_OPTIONS);
    const device = parseChoice<Device>("device", options.device, this.#device === "webgpu" ? ["webgpu", "wasm"] : ["wasm", "webgpu"]);
    if (device === "wasm") return emptyOn(this.#cpu.runtime, shape, options.dtype === undefined ? {} : { dtype: options.dtype });
    parseChoice("dtype", options.dtype, ["f32"]);
    return this.#gpu.need().empty(parseShape("shape", shape));
  }

  /**
   * Makes a cache of keys and values for generating text, in the memory that the CPU threads share.
   *
   * @param options - as for the plain `KVCache`
   * @returns an empty cache that takes up memory until you `dispose` it or the engine
   * @throws the errors of `KVCache`, DisposedError after `dispose`
   */
  kvCache(options: KVCacheOptions): EngineKVCache {
    this.#check();
    const cpu = this.#cpu;
    const { memory } = cpu.runtime;
    return new EngineKVCache(new KVCache(options, cpu.runtime), {
      memory,
      write: async (work) => {
        this.#check();
        const release = memory.hold();
        const used = { reads: true, writes: true, buffers: false };
        await this.#inOrder("wasm", { operands: {}, results: {} }, undefined, () => cpu.inTurn(work), undefined, used).finally(release);
      },
      run: async (call, signal) => {
        this.#check();
        if (signal?.aborted) throw signal.reason;
        return this.#inOrder("wasm", call, signal, () => cpu.run(call, signal));
      },
    });
  }

  /**
   * Copies a tensor into a GPU buffer.
   *
   * @param x - f32, f16 (`Float16Array`, or a `Uint16Array` with `dtype: "f16"`), or the bytes of a mask
   * @returns a tensor that takes up GPU memory until you `dispose` it
   * @throws TypeError, RangeError or UnsupportedError if `x` cannot be a GPU tensor, BackendError without a GPU
   */
  async upload<X extends TensorLike | Uint8Array | ByteTensor>(x: X): Promise<ResidentTensor<UploadedType<X>>> {
    this.#check();
    const gpu = this.#gpu.need();
    const view = toView("x", x);
    return (await this.#inOrder("webgpu", { operands: { x: view }, results: {} }, undefined, () => gpu.upload(view))) as never;
  }

  /**
   * Copies a tensor out of its GPU buffer, after all calls made so far.
   *
   * @param x - a tensor in a GPU buffer
   * @returns a tensor in a new array
   * @throws TypeError or RangeError if `x` is not a GPU tensor, BackendError without a GPU
   */
  async download<D extends DType>(x: GpuTensor<D>): Promise<Downloaded<D>> {
    this.#check();
    const gpu = this.#gpu.need();
    const view = deviceView("x", x);
    return (await this.#inOrder("webgpu", { operands: { x: view }, results: {} }, undefined, () => gpu.download(view))) as never;
  }

  /**
   * Records operations on GPU tensors into your command encoder, for you to submit. A recording does not wait for the engine's calls: await
   * those that write what it reads.
   *
   * @param encoder - a `GPUCommandEncoder` of {@link Engine.device}
   * @returns the operations, synchronous; `dispose` it after submitting the commands, to free its temporary buffers
   * @throws BackendError without a GPU, DisposedError after `dispose`
   */
  encode(encoder: GPUCommandEncoderLike): EngineRecording {
    this.#check();
    return new EngineRecording(this.#gpu.need().encode(encoder));
  }

  /**
   * Tells where a call would run, and why, without making it.
   *
   * @param op - the operation, by the plain function's name
   * @param shapes - the shapes of its tensors, by name: all required ones, plus `bias` and `mask` if the call has them
   * @param options - those of the operation, plus where the operands are, their dtype, and for `mergeStates` how many states
   * @returns the device and the reason, estimated times if there is a calibration, and the kernel
   * @throws what the call would throw before it runs, and TypeError or RangeError for arguments that only `explain` takes
   */
  explain(op: EngineOp, shapes: ExplainShapes, options?: ExplainOptions): Explanation {
    this.#check();
    const work = workOfShapes(op, shapes, options);
    const { device, reason, estimates } = this.#decide(work);
    return { device, reason, estimates, kernel: work.kernel };
  }

  /** What the engine runs on, and why anything is off. */
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

  /** The `GPUDevice` that calls run on, for your own buffers and encoders; `undefined` without a GPU. Changes after a device is lost. */
  get device(): GPUDeviceLike | undefined {
    return this.#gpu.current?.device;
  }

  /** The calibration measured or passed in: plain JSON, to keep for the next engine. `undefined` if the engine never has to choose. */
  get calibration(): Calibration | undefined {
    return this.#gpu.calibration;
  }

  /**
   * Stops threads and frees GPU memory. Pending calls reject. Tensors from `empty`, `upload` and GPU calls are gone: `data` throws
   * DisposedError, buffers are destroyed. A device you passed in stays. Disposing again does nothing.
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

  /** Runs an operation on the device that dispatch picks. */
  async #run(op: EngineOp, args: readonly unknown[], options: unknown): Promise<unknown> {
    const { signal, rest } = takeSignal(options);
    let call = parseCall(op, ...args, rest);
    const { memory } = this.#cpu.runtime;
    this.#check();
    if (signal?.aborted) throw signal.reason;
    const used = usedInPlace(memory, call);
    if (this.#device === "wasm" && !used.buffers) return this.#cpu.run(call, signal);
    const work = workOf(call);
    const { device } = this.#decide(work);
    const gpu = device === "webgpu" ? this.#gpu.need() : undefined;
    const downloads = gpu === undefined && work.operands.some(({ place }) => place === "gpu");
    const start = (): unknown => {
      if (downloads) return this.#downloaded(call, signal).then((there) => this.#cpu.run(there, signal));
      if (gpu === undefined) return this.#cpu.run(call, signal);
      try {
        return gpu.run(call, signal);
      } catch (error) {
        // Dispatch did not foresee this. Nothing has been submitted yet, so the CPU can take the call.
        if (!(error instanceof TooLargeError) || this.#device !== "auto" || used.buffers) throw error;
        return this.#cpu.run(call, signal);
      }
    };
    return this.#inOrder(downloads ? "webgpu" : device, call, signal, start, () => (call = snapshot(call, memory)));
  }

  /** A call that the CPU can compute: operands on the GPU are copied to arrays, in call order. */
  async #downloaded<C extends Call>(call: C, signal: AbortSignalLike | undefined): Promise<C> {
    const operands: Record<string, unknown> = { ...call.operands };
    for (const [name, operand] of operandsOf(call)) {
      const { data } = operand;
      if (data.place !== "gpu") continue;
      operands[name] = {
        ...operand,
        data: ArrayHandle.of((await this.#gpu.need().download({ data, shape: [data.length], strides: [1] }, signal)).data, data.dtype),
      };
    }
    return { ...call, operands };
  }

  /** Starts something in call order, and keeps the memory that it uses until it has settled. If it has to wait, `keep` copies the caller's arrays first. */
  async #inOrder<T>(
    side: Device,
    uses: UsedArrays,
    signal: AbortSignalLike | undefined,
    start: () => T | Promise<T>,
    keep?: () => void,
    used = usedInPlace(this.#cpu.runtime.memory, uses),
  ): Promise<T> {
    const turn = this.#order.enter(side, used);
    const holds = [holdMemory(uses), this.#gpu.current?.hold(arraysOf(uses))];
    try {
      if (turn?.ready !== undefined) {
        keep?.();
        await waitForTurn(turn.ready, signal);
        this.#check();
      }
      const result = start();
      turn?.begun();
      return await result;
    } finally {
      turn?.begun();
      turn?.ended();
      for (const release of holds) release?.();
    }
  }

  #decide(work: Work): Decision {
    return decide(work, { device: this.#device, gpu: this.#gpu.state, calibration: this.#gpu.calibration });
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError("this engine has been disposed");
  }
}
