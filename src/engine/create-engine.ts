import type { Engine } from "./engine.ts";
import type { EngineOptions } from "./types.ts";

/**
 * Makes an engine: the same operations as the plain functions, but asynchronous. Each call runs on a GPU or on CPU threads, wherever it
 * is estimated to finish sooner. The code for engines, threads and WebGPU is loaded on first use.
 *
 * @param options - see {@link EngineOptions}
 * @returns an engine; `dispose` it when you are done
 * @throws TypeError or RangeError if an option is wrong, BackendError if `device: "webgpu"` finds no GPU
 *
 * @example
 * ```ts
 * const engine = await createEngine({ device: "wasm" });
 * const p = await engine.softmax(new Float32Array([1, 2]));
 * p.data; // [0.2689, 0.7311]
 * engine.dispose();
 * ```
 */
export async function createEngine(options?: EngineOptions): Promise<Engine> {
  const { openEngine } = await import("./open-engine.ts");
  return openEngine(options);
}
