import { BINARIES } from "../generated/linear.ts";
import type { Family } from "./family.ts";
import type { LinearKernels } from "./kernels.ts";

/** Linear layers and matrix products: assembly/families/linear.ts. */
export const LINEAR: Family<LinearKernels> = { binaries: BINARIES, kernelsOf: (exports) => exports as unknown as LinearKernels };
