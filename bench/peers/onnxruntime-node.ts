import { onnxruntime } from "./onnxruntime.ts";

/** ONNX Runtime's native library, with whatever vector instructions the processor has. */
export const onnxruntimeNode = onnxruntime("onnxruntime-node", "cpu", "native code", () => {
  // Threads are set per session.
});
