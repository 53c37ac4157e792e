import type { Runner } from "../contender.ts";
import { attentionModel, rowOperatorModel } from "./onnx-model.ts";
import { load, swapHeadsAndLength, versionOf, type Peer } from "./peer.ts";

// onnxruntime-web and onnxruntime-node have one API; what is used of it:

export interface OrtTensor {
  readonly data: Float32Array;
  dispose?(): void;
}

export interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

/** The part of ONNX Runtime's module that the benchmark uses. */
export interface Ort {
  readonly env: { readonly wasm: { numThreads?: number }; logLevel?: string };
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
  readonly Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => OrtTensor;
}

/** ONNX Runtime with a model of the one operator, in either of its packages. */
export function onnxruntime(packageName: string, provider: "wasm" | "cpu", note: string, configure: (ort: Ort) => void): Peer {
  return {
    name: packageName,
    async setup() {
      const scope = globalThis as { Worker?: unknown };
      const worker = scope.Worker;
      const ort = await load<Ort>(packageName);
      configure(ort);
      const options = {
        executionProviders: [provider],
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        executionMode: "sequential",
        graphOptimizationLevel: "all",
      };
      const softmax = await ort.InferenceSession.create(rowOperatorModel("Softmax"), options);
      // onnxruntime-web defines a global `Worker`. With one thread it has no use for it, but jax-js would start a pool of them.
      if (worker === undefined) delete scope.Worker;
      return {
        name: packageName,
        version: versionOf(packageName),
        note,
        softmax: (x, rows, cols) => runner(softmax, { x: new ort.Tensor("float32", x, [rows, cols]) }),
        // Its layout is [batch, length, heads, dim], so the input is turned before the timing and the output after it.
        async attention({ heads, queries, keys, dim, q, k, v }) {
          const tensor = (x: Float32Array, length: number): OrtTensor =>
            new ort.Tensor("float32", swapHeadsAndLength(x, heads, length), [1, length, heads * dim]);
          const session = await ort.InferenceSession.create(attentionModel(heads), options);
          const inner = runner(session, { q: tensor(q, queries), k: tensor(k, keys), v: tensor(v, keys) });
          return {
            ...inner,
            read: async () => swapHeadsAndLength(await inner.read(), queries, heads),
            dispose() {
              inner.dispose?.();
              void session.release();
            },
          };
        },
      };
    },
  };
}

/** Runs a session on inputs that stay the same. */
export function runner(session: OrtSession, feeds: Record<string, OrtTensor>): Runner {
  let y: OrtTensor | undefined;
  return {
    async run() {
      y?.dispose?.();
      y = (await session.run(feeds))["y"];
    },
    read: () => y?.data ?? new Float32Array(0),
    dispose() {
      y?.dispose?.();
      for (const x of Object.values(feeds)) x.dispose?.();
    },
  };
}
