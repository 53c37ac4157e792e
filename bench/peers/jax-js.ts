import type { Runner } from "../contender.ts";
import { load, versionOf, type Peer } from "./peer.ts";

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
  jit(f: (x: JaxArray) => JaxArray): (x: JaxArray) => JaxArray;
  readonly numpy: { array(values: Float32Array): JaxArray };
  readonly nn: { softmax(x: JaxArray, axis: number): JaxArray };
}

/** jax-js on its WebAssembly backend, compiled with `jit`, which is its fastest way. One thread: Node has no global `Worker`. */
export const jaxJs: Peer = {
  name: "jax-js",
  async setup() {
    const jax = await load<Jax>("@jax-js/jax");
    await jax.init("wasm");
    jax.defaultDevice("wasm");
    const softmax = jax.jit((x) => jax.nn.softmax(x, -1));
    return {
      name: "jax-js",
      version: versionOf("@jax-js/jax"),
      note: "WebAssembly, SIMD, jit",
      softmax: (values, rows, cols) => runner(softmax, jax.numpy.array(values).reshape([rows, cols])),
    };
  },
};

function runner(softmax: (x: JaxArray) => JaxArray, x: JaxArray): Runner {
  let y: JaxArray | undefined;
  return {
    async run() {
      y?.dispose();
      y = softmax(x.ref);
      await y.blockUntilReady();
    },
    read: () => y?.ref.data() ?? new Float32Array(0),
    dispose() {
      y?.dispose();
      x.dispose();
    },
  };
}
