import type { Runner } from "../contender.ts";
import { load, versionOf, type Peer } from "./peer.ts";

interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}

interface TfCore {
  setBackend(name: string): Promise<boolean>;
  tensor2d(values: Float32Array, shape: readonly [number, number]): TfTensor;
  softmax(x: TfTensor): TfTensor;
}

interface TfWasm {
  setThreadsCount(count: number): void;
}

/** TensorFlow.js on its WebAssembly backend, whose softmax is XNNPACK's. Outputs stay in its memory, as ours do. */
export const tfjsWasm: Peer = {
  name: "tfjs-backend-wasm",
  async setup() {
    const tf = await load<TfCore>("@tensorflow/tfjs-core");
    const wasm = await load<TfWasm>("@tensorflow/tfjs-backend-wasm");
    wasm.setThreadsCount(1);
    if (!(await tf.setBackend("wasm"))) throw new Error("the wasm backend did not start");
    return {
      name: "tfjs-backend-wasm",
      version: versionOf("@tensorflow/tfjs-backend-wasm"),
      note: "WebAssembly, SIMD (XNNPACK)",
      softmax: (values, rows, cols) => runner(tf, tf.tensor2d(values, [rows, cols])),
    };
  },
};

function runner(tf: TfCore, x: TfTensor): Runner {
  let y: TfTensor | undefined;
  return {
    run() {
      y?.dispose();
      y = tf.softmax(x);
    },
    read: () => y?.dataSync() ?? new Float32Array(0),
    dispose() {
      y?.dispose();
      x.dispose();
    },
  };
}
