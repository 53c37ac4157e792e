import { INDEX, PIECES, TABLE } from "../generated/testing.ts";
import type { Family } from "./family.ts";
import type { TestingKernels } from "./kernels.ts";

/** assembly/families/testing.ts. */
export const TESTING: Family<TestingKernels> = { index: INDEX, pieces: PIECES, table: TABLE, kernelsOf: (exports) => exports as unknown as TestingKernels };
