import { type DeviceTraits, SUBMISSION_FLOPS } from "../../src/backend/webgpu/device/traits.ts";
import type { AttentionKey } from "../../src/backend/webgpu/kernels/attention.ts";
import type { RowKey } from "../../src/backend/webgpu/kernels/rows.ts";

/** What every WebGPU device has: the specification's default limits and no optional feature. */
export const BASE_TRAITS: DeviceTraits = {
  workgroupStorage: 16384,
  workgroupsPerDimension: 65535,
  bindingBytes: 134217728,
  bufferBytes: 268435456,
  offsetAlignment: 256,
  submissionFlops: SUBMISSION_FLOPS,
  subgroups: undefined,
  f16: false,
};

/** Storage buffers of a shader, and threads of a workgroup, that every device allows. */
export const BASE_BUFFERS = 8;
export const BASE_THREADS = 256;

/** Every attention kernel there is. */
export const ATTENTION_KEYS: readonly AttentionKey[] = (["f32", "f16", "f16-packed"] as const).flatMap((storage) =>
  [false, true].flatMap((subgroups): AttentionKey[] => [
    { rows: 64, keys: 64, storage, subgroups },
    { rows: 64, keys: 32, storage, subgroups },
    { rows: 16, keys: 64, storage, subgroups },
  ]),
);

/** Every kernel of rows there is. */
export const ROW_KEYS: readonly RowKey[] = (["f32", "f16-packed"] as const).flatMap((storage) =>
  [false, true].flatMap((subgroups) => [false, true].map((vector) => ({ storage, subgroups, vector }))),
);
