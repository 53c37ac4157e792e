// Runs in Node, Bun and Deno beside the installed package, under one ONEPASS_WASM, and prints what it finds as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import * as onepass from "onepass";
import { everything } from "./everything.js";

const required = createRequire(import.meta.url)("onepass");
const accepts = (variant) => WebAssembly.validate(readFileSync(fileURLToPath(import.meta.resolve(`onepass/wasm/${variant}.wasm`))));

// Deno has a GPU of its own, whose software drivers take a minute to compile attention; the others lack one without the package `webgpu`.
console.log(
  JSON.stringify({
    ...(await everything({ gpu: !("Deno" in globalThis), workerUrl: new URL(import.meta.resolve("onepass/worker")) })),
    sameModule: required.softmax === onepass.softmax,
    standardOverflows: onepass.softmax(Float32Array.of(1, 100), { algorithm: "standard" }).data.some(Number.isNaN),
    accepted: { baseline: accepts("baseline"), relaxed: accepts("relaxed") },
  }),
);
