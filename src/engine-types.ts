import type { Variant } from "./backend/wasm/features.ts";
import type { Calibration } from "./calibration.ts";
import type { Decision, Device } from "./dispatch.ts";
import type { AbortSignalLike, GPUDeviceLike, GPULike, GpuInfo } from "./gpu-types.ts";
import type { GpuTensor, ResidentTensor, Tensor, TensorLike } from "./tensor.ts";
import type { Work } from "./work.ts";

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

/** A result that stays on the GPU, or two of them with `returnLse: true`. */
export type RecordedAttention<O> = O extends ReturnsLse ? RecordedWithLse : ResidentTensor<"f32">;

/** The same as {@link EngineWithLse}, on the GPU. */
export interface RecordedWithLse {
  /** The output. */
  readonly out: ResidentTensor<"f32">;
  /** The log-sum-exp of every row, heads before length. */
  readonly lse: ResidentTensor<"f32">;
}
