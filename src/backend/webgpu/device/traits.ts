/** How numbers lie in a buffer: f32, f16 read as such (`shader-f16`), or pairs of f16 in a u32 that `unpack2x16float` reads. */
export type Storage = "f32" | "f16" | "f16-packed";

/** Everything about a device that decides which shader is made. Plain numbers, so that shaders can be made and tested without a GPU. */
export interface DeviceTraits {
  /** Bytes of workgroup memory. */
  readonly workgroupStorage: number;
  /** Threads in a workgroup, in all and along x. */
  readonly invocations: number;
  readonly invocationsX: number;
  /** Workgroups along each dimension of a dispatch. */
  readonly workgroupsPerDimension: number;
  /** Bytes of a buffer that one storage binding may show. */
  readonly bindingBytes: number;
  /** Bytes of a buffer. */
  readonly bufferBytes: number;
  /** A binding starts at a multiple of this many bytes. */
  readonly offsetAlignment: number;
  /** Storage buffers that one shader may have. */
  readonly storageBuffers: number;
  /** Floating-point operations of a submission, where a call can be cut. */
  readonly submissionFlops: number;
  /** Sizes that a subgroup may have; undefined without the feature. */
  readonly subgroups: { readonly min: number; readonly max: number } | undefined;
  /** Whether shaders may name `f16`. */
  readonly f16: boolean;
}

/**
 * Floating-point operations of a submission, at first. Systems take a GPU for hung that does not come back for two seconds, and reset
 * it. A laptop's computes some 0.1 TFLOP/s with these kernels: 0.7 s.
 */
const SUBMISSION_FLOPS = 2 ** 36;

/** What every WebGPU device has: the specification's default limits and no optional feature. */
export const BASE_TRAITS: DeviceTraits = {
  workgroupStorage: 16384,
  invocations: 256,
  invocationsX: 256,
  workgroupsPerDimension: 65535,
  bindingBytes: 134217728,
  bufferBytes: 268435456,
  offsetAlignment: 256,
  storageBuffers: 8,
  submissionFlops: SUBMISSION_FLOPS,
  subgroups: undefined,
  f16: false,
};

/** Reads the traits of a device. Where nobody states the sizes of its subgroups, they are within the specification's range. */
export function traitsOf(device: Pick<GPUDevice, "limits" | "features" | "adapterInfo">, info: Partial<GPUAdapterInfo> = device.adapterInfo): DeviceTraits {
  const { limits, features } = device;
  return {
    workgroupStorage: limits.maxComputeWorkgroupStorageSize,
    invocations: limits.maxComputeInvocationsPerWorkgroup,
    invocationsX: limits.maxComputeWorkgroupSizeX,
    workgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    bindingBytes: limits.maxStorageBufferBindingSize,
    bufferBytes: limits.maxBufferSize,
    offsetAlignment: Math.max(limits.minStorageBufferOffsetAlignment, limits.minUniformBufferOffsetAlignment),
    storageBuffers: limits.maxStorageBuffersPerShaderStage,
    submissionFlops: SUBMISSION_FLOPS,
    subgroups: features.has("subgroups") ? { min: info.subgroupMinSize ?? 4, max: info.subgroupMaxSize ?? 128 } : undefined,
    f16: features.has("shader-f16"),
  };
}

/** How this device reads a dtype. */
export function storageOf(dtype: "f32" | "f16", traits: Pick<DeviceTraits, "f16">): Storage {
  return dtype === "f32" ? "f32" : traits.f16 ? "f16" : "f16-packed";
}
