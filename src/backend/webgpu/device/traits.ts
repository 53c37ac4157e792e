import type { DType } from "../../../tensor/array.ts";

/** How numbers are stored in a buffer: f32, f16 read directly (`shader-f16`), or pairs of f16 in a u32, read with `unpack2x16float`. */
export type Storage = "f32" | "f16" | "f16-packed";

/** Everything about a device that decides which shader is generated. Plain numbers, so that shaders can be generated and tested without a GPU. */
export interface DeviceTraits {
  /** Bytes of workgroup memory. */
  readonly workgroupStorage: number;
  /** Most workgroups along each dimension of a dispatch. */
  readonly workgroupsPerDimension: number;
  /** Most bytes of a buffer that one storage binding can show. */
  readonly bindingBytes: number;
  /** Most bytes of a buffer. */
  readonly bufferBytes: number;
  /** Bindings start at multiples of this many bytes. */
  readonly offsetAlignment: number;
  /** Floating-point operations per submission, if a call can be split. */
  readonly submissionFlops: number;
  /** Possible subgroup sizes; `undefined` without the feature. */
  readonly subgroups: { readonly min: number; readonly max: number } | undefined;
  /** Whether shaders can use `f16`. */
  readonly f16: boolean;
}

/**
 * Floating-point operations per submission, to begin with. Systems consider a GPU hung, and reset it, if it does not respond for two
 * seconds. A laptop GPU reaches about 0.1 TFLOP/s with these kernels, so a submission takes 0.7 s.
 */
export const SUBMISSION_FLOPS = 2 ** 36;

/** Reads the traits of a device. Subgroup sizes that nobody reports are taken from the range in the specification. */
export function traitsOf(device: Pick<GPUDevice, "limits" | "features" | "adapterInfo">, info: Partial<GPUAdapterInfo> = device.adapterInfo): DeviceTraits {
  const { limits, features } = device;
  return {
    workgroupStorage: limits.maxComputeWorkgroupStorageSize,
    workgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    bindingBytes: limits.maxStorageBufferBindingSize,
    bufferBytes: limits.maxBufferSize,
    offsetAlignment: Math.max(limits.minStorageBufferOffsetAlignment, limits.minUniformBufferOffsetAlignment),
    submissionFlops: SUBMISSION_FLOPS,
    subgroups: features.has("subgroups") ? { min: info.subgroupMinSize ?? 4, max: info.subgroupMaxSize ?? 128 } : undefined,
    f16: features.has("shader-f16"),
  };
}

/** How this device reads a dtype. */
export function storageOf(dtype: DType, traits: Pick<DeviceTraits, "f16">): Storage {
  return dtype !== "f16" ? "f32" : traits.f16 ? "f16" : "f16-packed";
}
