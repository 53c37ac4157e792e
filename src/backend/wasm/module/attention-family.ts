import { INDEX, PIECES, TABLE } from "../generated/attention.ts";
import type { Family } from "./family.ts";
import type { AttentionKernels } from "./kernels.ts";

/** assembly/families/attention.ts. */
export const ATTENTION: Family<AttentionKernels> = { index: INDEX, pieces: PIECES, table: TABLE, kernelsOf: (exports) => exports as unknown as AttentionKernels };
