import { onnxruntime } from "./onnxruntime.ts";

/** ONNX Runtime compiled to WebAssembly, as in browsers. Its API copies the input in and the output out on each run. */
export const onnxruntimeWeb = onnxruntime("onnxruntime-web", "wasm", "WebAssembly, SIMD", (ort) => {
  ort.env.wasm.numThreads = 1;
});
