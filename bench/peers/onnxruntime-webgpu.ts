import type { Runner } from "../contender.ts";
import type { Heads } from "../heads.ts";
import { attentionModel, rowOperatorModel } from "./onnx-model.ts";
import { runner as runnerOf, type Ort, type OrtTensor } from "./onnxruntime.ts";
import { load, swapHeadsAndLength, versionOf, type Peer, type ReadyPeer } from "./peer.ts";

const PACKAGE = "onnxruntime-node";
const NAME = "onnxruntime WebGPU";

/**
 * ONNX Runtime's WebGPU provider in Node, which is Dawn, too. It takes operands from arrays only: given one of its own GPU tensors as an
 * input, version 1.30 ends the process. So the time without transfers is that of a graph with the operator many times in a row,
 * less that of a graph with one.
 */
export const onnxruntimeWebgpu: readonly Peer[] = [
  { name: `${NAME}, per call`, setup: () => setup(`${NAME}, per call`, "operands sent, result read back by every call", perCall) },
  { name: `${NAME}, chained`, setup: () => setup(`${NAME}, chained`, `per operator of a graph of ${CHAIN}, transfers subtracted`, chained) },
];

const CHAIN = 9;

/** A graph in which the operator is applied so many times, ready to run. */
type Graph = (times: number) => Promise<Runner>;

async function setup(name: string, note: string, run: (graph: Graph) => Promise<Runner>): Promise<ReadyPeer> {
  const ort = (await load<{ default: Ort }>(PACKAGE)).default;
  const options = { executionProviders: ["webgpu"], logSeverityLevel: 3 };
  const graphOf =
    (model: (times: number) => Uint8Array, feeds: Record<string, OrtTensor>): Graph =>
    async (times) => {
      const session = await ort.InferenceSession.create(model(times), options);
      const inner = runnerOf(session, feeds);
      return {
        ...inner,
        dispose() {
          inner.dispose?.();
          void session.release();
        },
      };
    };
  // Throws where there is no adapter.
  const probe = await ort.InferenceSession.create(rowOperatorModel("Softmax"), options);
  await probe.release();
  return {
    name,
    version: versionOf(PACKAGE),
    note,
    softmax: (x, rows, cols) => run(graphOf((times) => rowOperatorModel("Softmax", times), { x: new ort.Tensor("float32", x, [rows, cols]) })),
    // Its layout is [batch, length, heads · dim], so the input is turned before the timing and the output after it.
    async attention({ heads, queries, keys, dim, q, k, v }: Heads) {
      const tensor = (x: Float32Array, length: number): OrtTensor => new ort.Tensor("float32", swapHeadsAndLength(x, heads, length), [1, length, heads * dim]);
      const feeds = { q: tensor(q, queries), k: tensor(k, keys), v: tensor(v, keys) };
      const inner = await run(graphOf((times) => attentionModel(heads, times), feeds));
      return { ...inner, read: async () => swapHeadsAndLength(await inner.read(), queries, heads) };
    },
  };
}

const perCall = (graph: Graph): Promise<Runner> => graph(1);

async function chained(graph: Graph): Promise<Runner> {
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
}
