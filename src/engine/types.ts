import type { DType } from "../tensor/array.ts";
import type { AbortSignalLike } from "../errors/signal.ts";
import type { Variant } from "../backend/wasm/module/features.ts";
import type { Calibration } from "./calibration.ts";
import type { Decision, Device } from "./dispatch.ts";
import type { GPUDeviceLike, GPULike, GpuInfo } from "../tensor/gpu-types.ts";
import type { DTypeOf, GpuTensor, ResidentTensor, Tensor, TensorLike } from "../tensor/tensor.ts";
import type { Work } from "../calls/work.ts";

/** Options of {@link createEngine}. */
export interface EngineOptions {
  /**
   * Where calls run: on the CPU, on a GPU (all that a GPU can compute; f64 stays on the CPU), or, by default, each where it is estimated to
   * finish sooner.
   */
  readonly device?: "auto" | "wasm" | "webgpu";
  /** CPU threads, including the calling one. "auto" (default) means one per processor, at most 16. */
  readonly threads?: "auto" | number;
  /**
   * A GPU (`navigator.gpu`, or one from the npm package `webgpu`) or your own device, which is never destroyed. Request your device with
   * everything it should use; the defaults work, but do less. Kernels use the features `subgroups` and `shader-f16`, and as much as the
   * adapter has of the limits `maxStorageBufferBindingSize`, `maxBufferSize` (large tensors), `maxComputeWorkgroupStorageSize`,
   * `maxComputeInvocationsPerWorkgroup`, `maxComputeWorkgroupSizeX` and `maxStorageBuffersPerShaderStage` (large tiles). In Node, keep the
   * GPU that a device came from for as long as the engine lives: Dawn crashes when it is garbage-collected.
   */
  readonly gpu?: GPULike | GPUDeviceLike;
  /** Which of the two binaries to use. Default: that of `module` or of the environment variable ONEPASS_WASM, else the faster one that runs here. */
  readonly variant?: Variant;
  /** The `engine.calibration` of an earlier engine on this machine with the same number of threads. Saves a fifth of a second of measuring. */
  readonly calibration?: Calibration;
  /**
   * Limit in bytes for the memory that the CPU threads share and that `empty` allocates from; at least 2 MiB. The default is 1 GiB of
   * reserved address space, or up to 4 GiB on one thread. With threads, calls that run on a single one use scratch memory besides this.
   */
  readonly maxMemoryBytes?: number;
  /** URL of "onepass/worker", for pages whose policy forbids workers from blobs. */
  readonly workerUrl?: string | URLLike;
  /**
   * A compiled module (`WebAssembly.Module`) of "onepass/wasm/….wasm", for pages whose policy forbids compiling here. Several threads need
   * one of the "-shared.wasm" files, a single thread one of the others.
   */
  readonly module?: object;
}

/** A `URL`. */
export interface URLLike {
  /** The address. */
  readonly href: string;
}

/** What engine methods take: a tensor in the caller's memory or in a GPU buffer. */
export type EngineInput = TensorLike | GpuTensor;

/** A plain function's options as engine methods take them: tensors may be on the GPU, and a signal can cancel the call. */
export type OnEngine<O> = { readonly [K in keyof O]: K extends "out" | "bias" | "mask" ? O[K] | GpuTensor : O[K] } & {
  /** Cancels the call between submissions or chunks; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignalLike;
};

/** A plain function's options as methods take them that compute on the CPU whatever the device. */
export type OnCpu<O> = O & {
  /** Cancels the call between chunks; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignalLike;
};

/** A plain function's options as recordings take them: tensors may be on the GPU, and `out` must be. */
export type OnGpu<O> = { readonly [K in keyof O]: K extends "out" ? GpuTensor<"f32"> : K extends "bias" | "mask" ? O[K] | GpuTensor : O[K] };

/** The options of a call. Their own type `P` decides the type of the result. A name that is not in `Known` does not compile. */
export type Exactly<Known, P> = P & Readonly<Record<Exclude<keyof P, keyof Known>, never>>;

/** The type of an option of a call; `undefined` if it is left out. */
export type OptionOf<P, K> = K extends keyof P ? P[K] : undefined;

/** Where a result is: in `out` (of type `O`) if given, else on the GPU if the first argument is, else in a new array. */
export type EngineResult<T, O = undefined, D extends "f32" | "f64" = DTypeOf<T>> = O extends undefined
  ? T extends GpuTensor
    ? ResidentTensor<"f32">
    : Tensor<D>
  : O extends GpuTensor
    ? O
    : Tensor<D>;

/** What attention returns for queries `Q` and options `P`: the output, and with `returnLse: true` also the log-sum-exp of every row. */
export type EngineAttention<Q, P = object> =
  OptionOf<P, "returnLse"> extends infer L ? (L extends true ? EngineWithLse<Q, OptionOf<P, "out">> : EngineResult<Q, OptionOf<P, "out">, "f32">) : never;

/** What attention returns with `returnLse: true`, and what merging such results returns. */
export interface EngineWithLse<Q, O = undefined> {
  /** The output. */
  readonly out: EngineResult<Q, O, "f32">;
  /** The log-sum-exp of every row, heads before length. */
  readonly lse: EngineResult<Q, undefined, "f32">;
}

/** A result of a recording: `out` (of type `O`) if given, else a new tensor on the GPU. */
export type RecordedResult<O = undefined> = O extends undefined ? ResidentTensor<"f32"> : O;

/** The same as {@link EngineAttention}, for a recording. */
export type RecordedAttention<P = object> =
  OptionOf<P, "returnLse"> extends infer L ? (L extends true ? RecordedWithLse<OptionOf<P, "out">> : RecordedResult<OptionOf<P, "out">>) : never;

/** The same as {@link EngineWithLse}, for a recording. */
export interface RecordedWithLse<O = undefined> {
  /** The output. */
  readonly out: RecordedResult<O>;
  /** The log-sum-exp of every row, heads before length. */
  readonly lse: ResidentTensor<"f32">;
}

/** The bytes of a mask, with a shape. */
export interface ByteTensor {
  /** One byte per element. */
  readonly data: Uint8Array;
  /** The size of each dimension. */
  readonly shape: readonly number[];
}

/** The dtype of an uploaded tensor. */
export type UploadedType<X> = X extends Float32Array | Pick<Tensor<"f32">, "data"> ? "f32" : X extends Uint8Array | Pick<ByteTensor, "data"> ? "u8" : DType;

/** What downloading a tensor of dtype `D` returns. */
export type Downloaded<D extends DType> = D extends "u8" ? ByteTensor : Tensor<D>;

/** What an engine runs on, and why anything is off. */
export interface EngineInfo {
  /** What the engine was created with. */
  readonly device: "auto" | Device;
  /** The CPU, which is always there. */
  readonly wasm: {
    /** The binary in use. */
    readonly variant: Variant;
    /** Threads that compute, including the calling one if it does. */
    readonly threads: number;
    /** Memory of the kernels, in bytes. It grows but never shrinks. */
    readonly memoryBytes: number;
  };
  /** `undefined` without a GPU. */
  readonly webgpu: GpuInfo | undefined;
  /** Why something is off: no GPU, fewer threads than asked for, a feature that the adapter lacks. */
  readonly off: readonly string[];
}

/** Why a call runs where it does. */
export interface Explanation extends Decision {
  /** The kernel that computes it. Nothing else affects the bits of a row, but that decoding on the CPU has two: one for fewer than eight rows. */
  readonly kernel: Work["kernel"];
}

/** An engine's operations, by the plain functions' names. */
export type EngineOp =
  | "softmax"
  | "logSoftmax"
  | "logSumExp"
  | "attention"
  | "attentionVarlen"
  | "attentionScores"
  | "mergeStates"
  | "topK"
  | "topKSoftmax"
  | "sample"
  | "crossEntropy"
  | "linear"
  | "matmul"
  | "applyRotary";

/** The shapes of an operation's tensors. */
export interface ExplainShapes {
  /** Input of row operations. */
  readonly x?: readonly number[];
  /** Queries of attention and its scores. */
  readonly q?: readonly number[];
  /** Keys. */
  readonly k?: readonly number[];
  /** Values. */
  readonly v?: readonly number[];
  /** If the operation takes one and the call has it. */
  readonly bias?: readonly number[];
  /** If the operation takes one and the call has it. */
  readonly mask?: readonly number[];
  /** Each of the outputs to merge. */
  readonly out?: readonly number[];
  /** Each of the log-sum-exps to merge. */
  readonly lse?: readonly number[];
  /** Input of sampling and of the loss. */
  readonly logits?: readonly number[];
  /** Of linear. */
  readonly weight?: readonly number[];
  /** First factor of matmul. */
  readonly a?: readonly number[];
  /** Second factor of matmul. */
  readonly b?: readonly number[];
}

/** Options of {@link Engine.explain}: those of the operation, plus what a real call reads off its data. */
export type ExplainOptions = Record<string, unknown> & {
  /** Where the operands are: in the caller's arrays (default), in memory that the CPU computes in (`empty`), or on the GPU. */
  readonly place?: "host" | "module" | "gpu";
  /** Default "f32". */
  readonly dtype?: "f32" | "f64" | "f16" | "bf16";
  /** How many states are merged. Default 2. */
  readonly parts?: number;
  /** How many elements topK and topKSoftmax return; required there. */
  readonly k?: number;
};
