import type { Tensor } from "../../src/index.ts";
import type { Runner } from "../measure/contender.ts";
import { load, makingOutputs, withHeadsBehind, type Peer } from "./peer.ts";

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
  jit(f: (...args: JaxArray[]) => JaxArray): (...args: JaxArray[]) => JaxArray;
  readonly numpy: { array(values: Float32Array): JaxArray };
  readonly nn: {
    softmax(x: JaxArray | undefined, axis: number): JaxArray;
    dotProductAttention(...qkv: JaxArray[]): JaxArray;
  };
}

/** jax-js on its WebAssembly backend, compiled with `jit`, which is its fastest way. One thread: Node has no global `Worker`. */
export const jaxJs: Peer = {
  name: "jax-js",
  packageName: "@jax-js/jax",
  note: "WebAssembly, SIMD, jit",
  async setup() {
    const jax = await load<Jax>("@jax-js/jax");
    await jax.init("wasm");
    jax.defaultDevice("wasm");
    const runner = (f: (...args: JaxArray[]) => JaxArray, operands: readonly Tensor<"f32">[]): Runner => {
      const inputs = operands.map(({ data, shape }) => jax.numpy.array(data).reshape(shape.length === 3 ? [1, ...shape] : shape));
      return makingOutputs(
        () => f(...inputs.map((x) => x.ref)).blockUntilReady(),
        (y) => y.ref.data(),
        inputs,
      );
    };
    const softmax = jax.jit((x) => jax.nn.softmax(x, -1));
    const attention = jax.jit((...qkv) => jax.nn.dotProductAttention(...qkv));
    return {
      softmax: ({ operands }) => runner(softmax, operands),
      attention: (problem) => withHeadsBehind(problem, ({ operands }) => runner(attention, operands)),
    };
  },
};
