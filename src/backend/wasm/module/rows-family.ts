import { INDEX, PIECES, TABLE } from "../generated/rows.ts";
import type { Family } from "./family.ts";
import type { RowKernels } from "./kernels.ts";

/** assembly/families/rows.ts. */
export const ROWS: Family<RowKernels> = { index: INDEX, pieces: PIECES, table: TABLE, kernelsOf: (exports) => exports as unknown as RowKernels };
