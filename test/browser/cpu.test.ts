import { FILES, describeBrowser } from "./suites.ts";

/** Of the plain functions alone, and of the GPU alone. */
const ONLY_PLAIN = ["properties/kv-cache.test.ts", "properties/online-softmax.test.ts"];
const ONLY_GPU = "parity/half.test.ts";

const onPlain = FILES.filter((file) => file !== ONLY_GPU);
const files = { "baseline relaxed engine": onPlain, threads: onPlain.filter((file) => !ONLY_PLAIN.includes(file)) };
describeBrowser("Chromium", files);
describeBrowser("Firefox", files);
