import { create } from "webgpu";

/** A GPU that takes every command and computes nothing. */
export function nullGpu(): GPU {
  return create(["backend=null"]);
}

/** The same with devices that are changed before anybody sees them. */
export function alteredGpu(alter: (device: GPUDevice) => void): Pick<GPU, "requestAdapter"> {
  const gpu = nullGpu();
  return {
    async requestAdapter() {
      const adapter = (await gpu.requestAdapter()) ?? null;
      if (adapter === null) return null;
      const { limits, features, info } = adapter;
      const requestDevice = async (descriptor?: GPUDeviceDescriptor): Promise<GPUDevice> => {
        const device = await adapter.requestDevice(descriptor);
        alter(device);
        return device;
      };
      // The GPU is kept by what it has given away.
      return { limits, features, info, requestDevice, gpu } as unknown as GPUAdapter;
    },
  };
}

/** Dawn loses devices whose GPU is collected. */
const kept: GPU[] = [];

/** What is read back from a device of {@link nullDevice}. */
export const READ_BACK = 0.25;

/** A device of such a GPU, and all that is written to its buffers, as f32. */
export async function nullDevice(): Promise<{ readonly device: GPUDevice; readonly written: Float32Array[] }> {
  const gpu = nullGpu();
  kept.push(gpu);
  const device = await (await gpu.requestAdapter())?.requestDevice();
  if (device === undefined) throw new Error("the null backend gave no device");
  const written: Float32Array[] = [];
  const { queue } = device;
  const write = queue.writeBuffer.bind(queue);
  queue.writeBuffer = (buffer, offset, data, dataOffset, size) => {
    // What engines pass are views of bytes.
    const bytes = data as Uint8Array;
    written.push(new Float32Array(bytes.slice(dataOffset, (dataOffset ?? 0) + (size ?? bytes.byteLength)).buffer));
    write(buffer, offset, data as GPUAllowSharedBufferSource, dataOffset, size);
  };
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    const range = buffer.getMappedRange.bind(buffer);
    buffer.getMappedRange = (...part) => {
      const mapped = range(...part);
      new Float32Array(mapped).fill(READ_BACK);
      return mapped;
    };
    return buffer;
  };
  return { device, written };
}
