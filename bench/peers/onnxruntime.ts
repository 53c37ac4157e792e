import type { Tensor } from "../../src/index.ts";
import type { Runner } from "../measure/contender.ts";
import type { Problem } from "../measure/problem.ts";
import { attentionModel, linearModel, rowOperatorModel, topKModel } from "./onnx-model.ts";
import { load, makingOutputs, withHeadsBehind, type Peer } from "./peer.ts";

// onnxruntime-web and onnxruntime-node have one API; what is used of it:

interface OrtTensor {
  readonly data: Float32Array;
  dispose?(): void;
}

interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<{ readonly y: OrtTensor }>;
  release(): Promise<void>;
}

interface Ort {
  readonly env: { readonly wasm: { numThreads?: number } };
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<OrtSession> };
  readonly Tensor: new (type: "float32", data: Float32Array, dims: readonly number[]) => OrtTensor;
}

/** A graph in which the operator is applied so many times, ready to run. */
type Graph = (times: number) => Promise<Runner>;
/** What is timed of it. */
type Way = (graph: Graph) => Promise<Runner>;

const once: Way = (graph) => graph(1);
const CHAIN = 9;

/**
 * The WebGPU provider takes operands from arrays only: given one of its own GPU tensors as an input, version 1.30 ends the process. So
 * the time without transfers is that of a graph with the operator many times in a row, less that of a graph with one.
 */
const chained: Way = async (graph) => {
  const [one, many] = [await graph(1), await graph(CHAIN)];
  const msOf = async (runner: Runner): Promise<number> => {
    const before = performance.now();
    await runner.run();
    return performance.now() - before;
  };
  return {
    ...one,
    async time() {
      const [alone, all] = [await msOf(one), await msOf(many)];
      // Transfers that hiccup can take longer than the whole chain.
      return Math.max((all - alone) / (CHAIN - 1), all / 1e3);
    },
    dispose() {
      one.dispose?.();
      many.dispose?.();
    },
  };
};

/** ONNX Runtime with models of the one operator, in either of its packages, on one thread. */
function onnxruntime(name: string, packageName: string, provider: "wasm" | "cpu" | "webgpu", note: string, way: Way = once): Peer {
  return {
    ...{ name, packageName, note, ...(provider === "webgpu" && { onGpu: true }) },
    async setup() {
      const scope = globalThis as { Worker?: unknown };
      const worker = scope.Worker;
      const module = await load<Ort & { readonly default?: Ort }>(packageName);
      const ort = module.default ?? module;
      // In onnxruntime-node, threads are set per session.
      if (provider === "wasm") ort.env.wasm.numThreads = 1;
      const threads = { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: "sequential" };
      const options = { executionProviders: [provider], logSeverityLevel: 3, graphOptimizationLevel: "all", ...(provider !== "webgpu" && threads) };
      // Throws where there is no adapter.
      await (await ort.InferenceSession.create(rowOperatorModel("Softmax"), options)).release();
      // onnxruntime-web defines a global `Worker`. With one thread it has no use for it, but jax-js would start a pool of them.
      if (worker === undefined) delete scope.Worker;
      const graphOf = (model: (times: number) => Uint8Array, inputs: Readonly<Record<string, Tensor<"f32"> | undefined>>) => async (times: number) => {
        const session = await ort.InferenceSession.create(model(times), options);
        const feeds: Record<string, OrtTensor> = {};
        for (const [input, tensor] of Object.entries(inputs)) if (tensor) feeds[input] = new ort.Tensor("float32", tensor.data, tensor.shape);
        const release = { dispose: () => void session.release() };
        return makingOutputs(
          async () => (await session.run(feeds)).y,
          ({ data }) => data,
          [...Object.values(feeds), release],
        );
      };
      return {
        softmax: ({ operands: [x] }) => way(graphOf((times) => rowOperatorModel("Softmax", times), { x })),
        ...(provider !== "webgpu" && {
          topK: ({ operands: [x] }: Problem, k: number) => way(graphOf(() => topKModel(k), { x })),
          linear: ({ operands: [x, weight] }: Problem) => way(graphOf(() => linearModel(), { x, weight })),
        }),
        attention: (problem) =>
          withHeadsBehind(problem, ({ operands, outShape: [, heads = 0] }) => {
            const [q, k, v] = operands.map(({ shape: [length = 0, , dim = 0], ...x }) => ({ ...x, shape: [1, length, heads * dim] }));
            return way(graphOf((times) => attentionModel(heads, times), { q, k, v }));
          }),
      };
    },
  };
}

/** Compiled to WebAssembly, as in browsers. Its API copies the input in and the output out on each run. */
export const onnxruntimeWeb = onnxruntime("onnxruntime-web", "onnxruntime-web", "wasm", "WebAssembly, SIMD");

/** The native library, with whatever vector instructions the processor has. */
export const onnxruntimeNode = onnxruntime("onnxruntime-node", "onnxruntime-node", "cpu", "native code");

/** The WebGPU provider in Node, which is Dawn, too. */
export const onnxruntimeWebgpu: readonly Peer[] = [
  onnxruntime("onnxruntime WebGPU, per call", "onnxruntime-node", "webgpu", "operands sent, result read back by every call"),
  onnxruntime("onnxruntime WebGPU, chained", "onnxruntime-node", "webgpu", `per operator of a graph of ${CHAIN}, transfers subtracted`, chained),
];
