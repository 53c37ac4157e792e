import { load, makingOutputs, type Peer } from "./peer.ts";

interface TfTensor {
  dataSync(): Float32Array;
  dispose(): void;
}

interface TfCore {
  setBackend(name: string): Promise<boolean>;
  tensor(values: Float32Array, shape: readonly number[]): TfTensor;
  softmax(x: TfTensor): TfTensor;
  topk(x: TfTensor, k: number, sorted: boolean): { readonly values: TfTensor; readonly indices: TfTensor };
  matMul(a: TfTensor, b: TfTensor, transposeA?: boolean, transposeB?: boolean): TfTensor;
  mul(a: TfTensor, b: number): TfTensor;
  /** Frees what `f` makes, apart from what it returns. */
  tidy(f: () => TfTensor): TfTensor;
}

/** TensorFlow.js on its WebAssembly backend, whose softmax is XNNPACK's. Outputs stay in its memory, as ours do. */
export const tfjsWasm: Peer = {
  name: "tfjs-backend-wasm",
  packageName: "@tensorflow/tfjs-backend-wasm",
  note: "WebAssembly, SIMD (XNNPACK)",
  async setup() {
    const tf = await load<TfCore>("@tensorflow/tfjs-core");
    const wasm = await load<{ setThreadsCount(count: number): void }>("@tensorflow/tfjs-backend-wasm");
    wasm.setThreadsCount(1);
    if (!(await tf.setBackend("wasm"))) throw new Error("the wasm backend did not start");
    // It has no attention: three steps, as its users write them. Scaling the queries is cheaper than scaling the scores.
    const attention = (q: TfTensor, k: TfTensor, v: TfTensor, dim: number): TfTensor =>
      tf.tidy(() => tf.matMul(tf.softmax(tf.matMul(tf.mul(q, 1 / Math.sqrt(dim)), k, false, true)), v));
    return {
      softmax({ operands }) {
        const [x] = operands.map(({ data, shape }) => tf.tensor(data, shape)) as [TfTensor];
        return makingOutputs(
          () => tf.softmax(x),
          (y) => y.dataSync(),
          [x],
        );
      },
      linear({ operands }) {
        const [x, weight] = operands.map(({ data, shape }) => tf.tensor(data, shape)) as [TfTensor, TfTensor];
        return makingOutputs(
          () => tf.matMul(x, weight, false, true),
          (y) => y.dataSync(),
          [x, weight],
        );
      },
      topK({ operands }, k) {
        const [x] = operands.map(({ data, shape }) => tf.tensor(data, shape)) as [TfTensor];
        return makingOutputs(
          () => tf.tidy(() => tf.topk(x, k, true).values),
          (y) => y.dataSync(),
          [x],
        );
      },
      attention({ operands, outShape }) {
        const [q, k, v] = operands.map(({ data, shape }) => tf.tensor(data, shape)) as [TfTensor, TfTensor, TfTensor];
        return makingOutputs(
          () => attention(q, k, v, outShape.at(-1) ?? 1),
          (y) => y.dataSync(),
          [q, k, v],
        );
      },
    };
  },
};
