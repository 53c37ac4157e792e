import type { Runner } from "../contender.ts";
import { rowOperatorModel } from "./onnx-model.ts";
import { load, versionOf, type Peer } from "./peer.ts";

// onnxruntime-web and onnxruntime-node have one API; what is used of it:

interface OrtTensor {
  readonly data: Float32Array;
  dispose?(): void;
}

interface OrtSession {
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
        softmax: (x, rows, cols) => runner(softmax, new ort.Tensor("float32", x, [rows, cols])),
      };
    },
  };
}

function runner(session: OrtSession, x: OrtTensor): Runner {
  let y: OrtTensor | undefined;
  const feeds = { x };
  return {
    async run() {
      y?.dispose?.();
      y = (await session.run(feeds))["y"];
    },
    read: () => y?.data ?? new Float32Array(0),
    dispose() {
      y?.dispose?.();
      x.dispose?.();
    },
  };
}
