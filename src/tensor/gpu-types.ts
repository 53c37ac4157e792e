// What the public declarations need of WebGPU, by structure: they have to compile where no WebGPU types are installed. The objects
// of a browser, of the `webgpu` package and of `@webgpu/types` all fit.

/** A `GPUBuffer`. */
export interface GPUBufferLike {
  /** In bytes. */
  readonly size: number;
  /** Flags of `GPUBufferUsage`. */
  readonly usage: number;
  /** "unmapped" where it may be used. */
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

/** A GPU in use: which, with what, and what it cannot do. */
export interface GpuInfo {
  /** The adapter's, as browsers tell it: "nvidia". */
  readonly vendor: string;
  /** The adapter's family: "ampere". */
  readonly architecture: string;
  /** The adapter's name, where it is told. */
  readonly description: string;
  /** Whether the adapter is software. */
  readonly emulated: boolean;
  /** Sizes of subgroups that shaders may meet; undefined where they do without. */
  readonly subgroups:
    | {
        /** The smallest. */
        readonly min: number;
        /** The largest. */
        readonly max: number;
      }
    | undefined;
  /** Whether shaders read f16 as such, and not by unpacking. */
  readonly f16: boolean;
  /** GPU memory that tensors and running calls use, and that waits to be used again. */
  readonly bytes: {
    /** Of tensors and running calls. */
    readonly inUse: number;
    /** Waiting to be used again. */
    readonly pooled: number;
  };
  /** Shaders compiled so far. */
  readonly pipelines: number;
}
