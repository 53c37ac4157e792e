import { MAP_READ } from "./buffers.ts";

/**
 * Firefox only checks for finished work every 100 ms or when something is submitted, so an empty submission is made this often. In Firefox
 * 153, waiting then takes 5 ms instead of 103.
 */
const NUDGE_MS = 1;

/** Waits for a promise that depends on GPU work. */
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
