import { MAP_READ } from "./buffers.ts";

/** Firefox looks for finished work every 100 ms, or when something is submitted; so something is. In Firefox 153: 5 ms, not 103. */
const NUDGE_MS = 1;

/** Waits for what the GPU has to do first. */
export async function nudged<T>(device: GPUDevice, promise: Promise<T>): Promise<T> {
  const { userAgent } = (globalThis as { navigator?: { userAgent?: string } }).navigator ?? {};
  const nudge = userAgent?.includes("Firefox") === true ? setInterval(() => device.queue.submit([]), NUDGE_MS) : undefined;
  try {
    return await promise;
  } finally {
    clearInterval(nudge);
  }
}

/** Maps a buffer for reading. */
export function mapForReading(device: GPUDevice, buffer: GPUBuffer, bytes: number): Promise<void> {
  return nudged(device, buffer.mapAsync(MAP_READ, 0, bytes));
}
