import { FILES, describeBrowser } from "./suites.ts";

/** Not of subjects. */
const ONLY_PLAIN = "properties/online-softmax.test.ts";

// Chromium brings SwiftShader, a GPU in software.
describeBrowser("Chromium", { webgpu: FILES.filter((file) => file !== ONLY_PLAIN) });
