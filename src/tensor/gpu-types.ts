// The parts of WebGPU that the public declarations need, typed by structure so that they compile without WebGPU types installed. The
// objects of a browser, of the `webgpu` package and of `@webgpu/types` all fit.

/** A `GPUBuffer`. */
export interface GPUBufferLike {
  /** In bytes. */
  readonly size: number;
  /** Flags of `GPUBufferUsage`. */
  readonly usage: number;
  /** "unmapped" when it can be used. */
  readonly mapState: string;
}

/** A `GPUDevice`. */
export interface GPUDeviceLike {
  /** Settles when the device is lost. */
  readonly lost: Promise<unknown>;
  /** A `GPUQueue`. */
  readonly queue: object;
  /** `GPUSupportedLimits`. */
  readonly limits: object;
}

/** A `GPU`, such as `navigator.gpu`. */
export interface GPULike {
  /** Gives a `GPUAdapter`, or null. */
  requestAdapter(options?: object): Promise<object | null>;
}

/** A `GPUCommandEncoder`. */
export interface GPUCommandEncoderLike {
  /** Begins a pass. */
  beginComputePass(descriptor?: object): object;
  /** Ends the recording. */
  finish(descriptor?: object): object;
}

/** The GPU in use: which one, what it offers, and how much of it is used. */
export interface GpuInfo {
  /** The adapter's vendor, as browsers report it: "nvidia". */
  readonly vendor: string;
  /** The adapter's family: "ampere". */
  readonly architecture: string;
  /** The adapter's name, if reported. */
  readonly description: string;
  /** Whether the adapter runs in software. */
  readonly emulated: boolean;
  /** Subgroup sizes that shaders may see; `undefined` if shaders do not use subgroups. */
  readonly subgroups:
    | {
        /** The smallest. */
        readonly min: number;
        /** The largest. */
        readonly max: number;
      }
    | undefined;
  /** Whether shaders read f16 directly, not by unpacking. */
  readonly f16: boolean;
  /** GPU memory used by tensors and running calls, and memory kept for reuse. */
  readonly bytes: {
    /** Used by tensors and running calls. */
    readonly inUse: number;
    /** Kept for reuse. */
    readonly pooled: number;
  };
  /** Shaders compiled so far. */
  readonly pipelines: number;
}
