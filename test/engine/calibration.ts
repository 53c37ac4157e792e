import type { Calibration } from "../../src/index.ts";

/** Rates of a machine whose GPU is a hundred times as fast as its CPU, or as slow. */
export function calibrationOf({ gpuWins }: { readonly gpuWins: boolean }): Calibration {
  const factor = gpuWins ? 100 : 0.01;
  const both = (rate: number) => ({ alone: rate, all: rate });
  return {
    version: 1,
    cpu: {
      callSeconds: 1e-6,
      rowElementsPerSecond: both(1e9),
      resultBytesPerSecond: 1e10,
      flopsPerSecond: both(3e10),
      decodeBytesPerSecond: both(1e10),
    },
    gpu: {
      submitSeconds: 2e-5,
      readbackSeconds: 8e-5,
      uploadBytesPerSecond: 1e9 * factor,
      downloadBytesPerSecond: 1e9 * factor,
      rowBytesPerSecond: 8e9 * factor,
      flopsPerSecond: { alone: 3e10 * factor, all: 3e11 * factor },
      decodeBytesPerSecond: 1e10 * factor,
    },
  };
}

const { version, cpu, gpu } = calibrationOf({ gpuWins: true });
const SLOW = { alone: 1, all: 1 };

/** Sends attention to the CPU and rows to the GPU. */
export const DIVIDED: Calibration = {
  version,
  cpu: { ...cpu, rowElementsPerSecond: SLOW },
  gpu: { ...gpu, flopsPerSecond: SLOW, decodeBytesPerSecond: 1 },
};
