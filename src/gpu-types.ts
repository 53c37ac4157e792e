// What the public declarations need of WebGPU, by structure: they have to compile where no WebGPU types are installed. The objects
// of a browser, of the `webgpu` package and of `@webgpu/types` all fit.

/** A `GPUBuffer`. */
export interface GPUBufferLike {
  readonly size: number;
  readonly usage: number;
  readonly mapState: string;
}

/** A `GPUDevice`. */
export interface GPUDeviceLike {
  readonly lost: Promise<unknown>;
  readonly queue: object;
  readonly limits: object;
}

/** A `GPU`, such as `navigator.gpu`. */
export interface GPULike {
  requestAdapter(options?: object): Promise<object | null>;
}

/** A `GPUCommandEncoder`. */
export interface GPUCommandEncoderLike {
  beginComputePass(descriptor?: object): object;
  finish(descriptor?: object): object;
}

/** An `AbortSignal`. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}
