// Runs inside a project that has the packed tarball installed, under one engine and one ONEPASS_WASM, and prints what it finds as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import * as onepass from "onepass";
import { createInstance, hasRelaxedSimd } from "onepass/testing";

const INPUT = [1, -2, 3.5, 88, 87.25, -100, 0, 5e-3, 86.5];

/** What `run` returns, or the name of the error it throws. */
function attempt(run) {
  try {
    return run();
  } catch (error) {
    return error.name;
  }
}

const input = Float32Array.from(INPUT);
const required = createRequire(import.meta.url)("onepass");
const wasm = (variant) => readFileSync(fileURLToPath(import.meta.resolve(`onepass/wasm/${variant}.wasm`)));

console.log(
  JSON.stringify({
    input: INPUT,
    relaxed: hasRelaxedSimd(),
    softmax: attempt(() => [...onepass.softmax(input).data]),
    required: attempt(() => [...required.softmax(input).data]),
    sameModule: required.softmax === onepass.softmax,
    instance: attempt(() => [...createInstance(process.env.ONEPASS_WASM || undefined).softmax(input).data]),
    standardOverflows: attempt(() => onepass.softmax(Float32Array.of(1, 100), { algorithm: "standard" }).data.some(Number.isNaN)),
    wasmValid: { baseline: WebAssembly.validate(wasm("baseline")), relaxed: WebAssembly.validate(wasm("relaxed")) },
  }),
);
