import { BINARIES } from "../generated/sampling.ts";
import type { Family } from "./family.ts";
import type { SamplingKernels } from "./kernels.ts";

/** Sampling: assembly/families/sampling.ts. */
export const SAMPLING: Family<SamplingKernels> = { binaries: BINARIES, kernelsOf: (exports) => exports as unknown as SamplingKernels };
