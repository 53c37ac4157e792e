import type { Runner } from "../contender.ts";
import { load, swapHeadsAndLength, versionOf, type Peer } from "./peer.ts";

interface JaxArray {
  /** One more reference: operations consume the array they are given. */
  readonly ref: JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  blockUntilReady(): Promise<JaxArray>;
  data(): Promise<Float32Array>;
  dispose(): void;
}

interface Jax {
  init(device: "wasm"): Promise<unknown>;
  defaultDevice(device: "wasm"): unknown;
  jit<A extends readonly JaxArray[]>(f: (...args: A) => JaxArray): (...args: A) => JaxArray;
  readonly numpy: { array(values: Float32Array): JaxArray };
  readonly nn: {
    softmax(x: JaxArray, axis: number): JaxArray;
    dotProductAttention(q: JaxArray, k: JaxArray, v: JaxArray): JaxArray;
  };
}

/** jax-js on its WebAssembly backend, compiled with `jit`, which is its fastest way. One thread: Node has no global `Worker`. */
export const jaxJs: Peer = {
  name: "jax-js",
  async setup() {
    const jax = await load<Jax>("@jax-js/jax");
    await jax.init("wasm");
    jax.defaultDevice("wasm");
    const softmax = jax.jit((x: JaxArray) => jax.nn.softmax(x, -1));
    const attention = jax.jit((q: JaxArray, k: JaxArray, v: JaxArray) => jax.nn.dotProductAttention(q, k, v));
    return {
      name: "jax-js",
      version: versionOf("@jax-js/jax"),
      note: "WebAssembly, SIMD, jit",
      softmax: (values, rows, cols) => runner(softmax, [jax.numpy.array(values).reshape([rows, cols])]),
      // Its layout is [batch, length, heads, dim], so the input is turned before the timing and the output after it.
      attention({ heads, queries, keys, dim, q, k, v }) {
        const array = (x: Float32Array, length: number): JaxArray => jax.numpy.array(swapHeadsAndLength(x, heads, length)).reshape([1, length, heads, dim]);
        const inner = runner(attention, [array(q, queries), array(k, keys), array(v, keys)]);
        return { ...inner, read: async () => swapHeadsAndLength(await inner.read(), queries, heads) };
      },
    };
  },
};

function runner<A extends readonly JaxArray[]>(f: (...args: A) => JaxArray, inputs: A): Runner {
  let y: JaxArray | undefined;
  return {
    async run() {
      y?.dispose();
      y = f(...(inputs.map((x) => x.ref) as unknown as A));
      await y.blockUntilReady();
    },
    read: async () => (await y?.ref.data()) ?? new Float32Array(0),
    dispose() {
      y?.dispose();
      for (const x of inputs) x.dispose();
    },
  };
}
