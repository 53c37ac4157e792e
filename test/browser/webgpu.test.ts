import { FILES, describeBrowser } from "./suites.ts";

/** Of the CPU alone. */
const ONLY_CPU = ["parity/narrow.test.ts", "properties/kv-cache.test.ts", "properties/online-softmax.test.ts"];

// Chromium brings SwiftShader, a GPU in software.
describeBrowser("Chromium", { webgpu: FILES.filter((file) => !ONLY_CPU.includes(file)) });
