import type { Runner } from "../contender.ts";
import { load, versionOf, type Peer } from "./peer.ts";

interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}

interface TfCore {
  setBackend(name: string): Promise<boolean>;
  tensor2d(values: Float32Array, shape: readonly [number, number]): TfTensor;
  tensor3d(values: Float32Array, shape: readonly [number, number, number]): TfTensor;
  softmax(x: TfTensor): TfTensor;
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  mul(a: TfTensor, b: number): TfTensor;
  /** Frees what `f` makes, apart from what it returns. */
  tidy(f: () => TfTensor): TfTensor;
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
      softmax: (values, rows, cols) => runner((x) => tf.softmax(x), [tf.tensor2d(values, [rows, cols])] as const),
      // It has no attention: three steps, as its users write them. Scaling the queries is cheaper than scaling the scores.
      attention: ({ heads, queries, keys, dim, q, k, v }) =>
        runner((qs, ks, vs) => tf.tidy(() => tf.matMul(tf.softmax(tf.matMul(tf.mul(qs, 1 / Math.sqrt(dim)), ks, false, true)), vs)), [
          tf.tensor3d(q, [heads, queries, dim]),
          tf.tensor3d(k, [heads, keys, dim]),
          tf.tensor3d(v, [heads, keys, dim]),
        ] as const),
    };
  },
};

function runner<A extends readonly TfTensor[]>(f: (...inputs: A) => TfTensor, inputs: A): Runner {
  let y: TfTensor | undefined;
  return {
    run() {
      y?.dispose();
      y = f(...inputs);
    },
    read: () => y?.dataSync() ?? new Float32Array(0),
    dispose() {
      y?.dispose();
      for (const x of inputs) x.dispose();
    },
  };
}
