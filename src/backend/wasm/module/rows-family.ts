import { BINARIES } from "../generated/rows.ts";
import type { Family } from "./family.ts";
import type { RowKernels } from "./kernels.ts";

/** Softmax, log-softmax, log-sum-exp and what they need: assembly/families/rows.ts. */
export const ROWS: Family<RowKernels> = { binaries: BINARIES, kernelsOf: (exports) => exports as unknown as RowKernels };
