import type { AbortSignalLike } from "../errors/signal.ts";
import type { Variant } from "../backend/wasm/module/features.ts";
import type { Calibration } from "./calibration.ts";
import type { Decision, Device } from "./dispatch.ts";
import type { GPUDeviceLike, GPULike, GpuInfo } from "../tensor/gpu-types.ts";
import type { DType, DTypeOf, GpuTensor, ResidentTensor, Tensor, TensorLike } from "../tensor/tensor.ts";
import type { Work } from "../calls/work.ts";

/** Options of {@link createEngine}. */
export interface EngineOptions {
  /**
   * Where calls run: on the CPU, on a GPU (all that a GPU can: f64 stays on the CPU), or, by default, each where it is estimated to
   * end sooner.
   */
  readonly device?: "auto" | "wasm" | "webgpu";
  /** Threads of the CPU, the calling one included; "auto" (default) is one per processor, and at most 16. */
  readonly threads?: "auto" | number;
  /**
   * A GPU (`navigator.gpu`, or that of the npm package `webgpu`) or a device of the caller's, which is never destroyed. A device has to
   * have been requested with what it is to be used for; defaults work, with less. Kernels make use of the features `subgroups` and
   * `shader-f16`, and of as much as the adapter has of the limits `maxStorageBufferBindingSize`, `maxBufferSize` (large tensors),
   * `maxComputeWorkgroupStorageSize`, `maxComputeInvocationsPerWorkgroup`, `maxComputeWorkgroupSizeX` and
   * `maxStorageBuffersPerShaderStage` (large tiles). In Node keep the GPU that a device came from as long as the engine lives: Dawn
   * crashes when it is collected.
   */
  readonly gpu?: GPULike | GPUDeviceLike;
  /** Which of the two binaries. When absent, what `module` is or the environment variable ONEPASS_WASM says, else the faster that runs here. */
  readonly variant?: Variant;
  /** What `engine.calibration` was on this machine with as many threads: spares a fifth of a second of measuring. */
  readonly calibration?: Calibration;
  /**
   * What the memory that the CPU's threads share, and that `empty` gives out, may grow to, in bytes; at least 2 MiB. Default 1 GiB, of
   * which the address space is reserved; on one thread as far as it goes (4 GiB). With threads, calls on one of them have scratch besides.
   */
  readonly maxMemoryBytes?: number;
  /** Where "onepass/worker" is served, for pages whose policy forbids workers from blobs. */
  readonly workerUrl?: string | URLLike;
  /**
   * A compiled module (`WebAssembly.Module`) of "onepass/wasm/….wasm", for pages whose policy forbids compiling here. Threads need one of
   * the "-shared.wasm" files, one thread one of the others.
   */
  readonly module?: object;
}

/** A `URL`. */
export interface URLLike {
  /** The address. */
  readonly href: string;
}

/** What an engine's methods take: a tensor of the caller's memory, or one in a GPU buffer. */
export type EngineInput = TensorLike | GpuTensor;

/** Options of a plain function as an engine's method takes them: tensors may be on the GPU, and a signal may cancel the call. */
export type OnEngine<O> = { readonly [K in keyof O]: K extends "out" | "bias" | "mask" ? O[K] | GpuTensor : O[K] } & {
  /** Cancels the call between submissions or chunks; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignalLike;
};

/** Options of a plain function as a recording takes them: tensors may be on the GPU, and `out` has to be. */
export type OnGpu<O> = { readonly [K in keyof O]: K extends "out" ? GpuTensor<"f32"> : K extends "bias" | "mask" ? O[K] | GpuTensor : O[K] };

/** The options of a call, from whose own type `P` its result follows. A name that is none of `Known`'s does not compile. */
export type Exactly<Known, P> = P & Readonly<Record<Exclude<keyof P, keyof Known>, never>>;

/** The type of an option of a call, undefined where it is left out. */
export type OptionOf<P, K> = K extends keyof P ? P[K] : undefined;

/** Where a result is: in `out` (of type `O`) when that is given, else on the GPU when the first argument is, else in a new array. */
export type EngineResult<T, O = undefined, D extends "f32" | "f64" = DTypeOf<T>> = O extends undefined
  ? T extends GpuTensor
    ? ResidentTensor<"f32">
    : Tensor<D>
  : O extends GpuTensor
    ? O
    : Tensor<D>;

/** What attention gives for queries `Q` and options `P`: the output, and with `returnLse: true` the log-sum-exp of every row. */
export type EngineAttention<Q, P = object> =
  OptionOf<P, "returnLse"> extends infer L ? (L extends true ? EngineWithLse<Q, OptionOf<P, "out">> : EngineResult<Q, OptionOf<P, "out">, "f32">) : never;

/** What attention gives with `returnLse: true`, and what merging such results gives. */
export interface EngineWithLse<Q, O = undefined> {
  /** The output. */
  readonly out: EngineResult<Q, O, "f32">;
  /** The log-sum-exp of every row, heads before length. */
  readonly lse: EngineResult<Q, undefined, "f32">;
}

/** A result of a recording: `out` (of type `O`) when that is given, else a new tensor on the GPU. */
export type RecordedResult<O = undefined> = O extends undefined ? ResidentTensor<"f32"> : O;

/** The same as {@link EngineAttention}, of a recording. */
export type RecordedAttention<P = object> =
  OptionOf<P, "returnLse"> extends infer L ? (L extends true ? RecordedWithLse<OptionOf<P, "out">> : RecordedResult<OptionOf<P, "out">>) : never;

/** The same as {@link EngineWithLse}, of a recording. */
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

/** The dtype that a tensor has on the GPU. */
export type UploadedType<X> = X extends Float32Array | Pick<Tensor<"f32">, "data"> ? "f32" : X extends Uint8Array | Pick<ByteTensor, "data"> ? "u8" : DType;

/** What is downloaded of a tensor of dtype `D`. */
export type Downloaded<D extends DType> = D extends "u8" ? ByteTensor : Tensor<D>;

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
    /** Memory of the kernels, in bytes: it grows, and does not shrink. */
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
export type EngineOp = "softmax" | "logSoftmax" | "logSumExp" | "attention" | "attentionVarlen" | "attentionScores" | "mergeStates";

/** The shapes of an operation's tensors. */
export interface ExplainShapes {
  /** Of row operations. */
  readonly x?: readonly number[];
  /** Queries of attention and its scores. */
  readonly q?: readonly number[];
  /** Keys. */
  readonly k?: readonly number[];
  /** Values. */
  readonly v?: readonly number[];
  /** Where it may be given. */
  readonly bias?: readonly number[];
  /** Where it may be given. */
  readonly mask?: readonly number[];
  /** Each of the outputs that are merged. */
  readonly out?: readonly number[];
  /** Each of their log-sum-exps. */
  readonly lse?: readonly number[];
}

/** Options of {@link Engine.explain}: those of the operation, and what there is no data to tell. */
export type ExplainOptions = Record<string, unknown> & {
  /** Where the operands are. Default "host". */
  readonly place?: "host" | "gpu";
  /** Default "f32". */
  readonly dtype?: "f32" | "f64" | "f16";
  /** How many states are merged. Default 2. */
  readonly parts?: number;
};
