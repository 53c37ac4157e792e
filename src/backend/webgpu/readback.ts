import { MAP_READ } from "./buffers.ts";

/** Firefox looks for finished work every 100 ms, or when something is submitted; so something is. In Firefox 153: 5 ms, not 103. */
const NUDGE_MS = 1;

/** Maps a buffer for reading. */
export async function mapForReading(device: GPUDevice, buffer: GPUBuffer, bytes: number): Promise<void> {
  const { userAgent } = (globalThis as { navigator?: { userAgent?: string } }).navigator ?? {};
  const nudge = userAgent?.includes("Firefox") === true ? setInterval(() => device.queue.submit([]), NUDGE_MS) : undefined;
  try {
    await buffer.mapAsync(MAP_READ, 0, bytes);
  } finally {
    clearInterval(nudge);
  }
}
