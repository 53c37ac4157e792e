import { BINARIES } from "../generated/testing.ts";
import type { Family } from "./family.ts";
import type { TestingKernels } from "./kernels.ts";

/** What only tests call: assembly/families/testing.ts. */
export const TESTING: Family<TestingKernels> = { binaries: BINARIES, kernelsOf: (exports) => exports as unknown as TestingKernels };
