import { BINARIES } from "../generated/attention.ts";
import type { Family } from "./family.ts";
import type { AttentionKernels } from "./kernels.ts";

/** Attention: assembly/families/attention.ts. */
export const ATTENTION: Family<AttentionKernels> = { binaries: BINARIES, kernelsOf: (exports) => exports as unknown as AttentionKernels };
