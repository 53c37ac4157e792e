// Every way to compute that the package has, each as apps/sample.js does it. Bundled by every bundler, and run as it is by every runtime.
import * as onepass from "onepass";
import { hasRelaxedSimd } from "onepass/testing";
import { SAMPLE, compute } from "./sample.js";

/** Results of an engine and what it ran on, or the error. */
async function onEngine(options) {
  let engine;
  try {
    engine = await onepass.createEngine(options);
    const results = await compute(engine);
    const { wasm, webgpu, off } = engine.info();
    return { ...results, variant: wasm.variant, threads: wasm.threads, gpu: webgpu !== undefined, off };
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  } finally {
    engine?.dispose();
  }
}

/** With `gpu` also on one; `workerUrl` is where "onepass/worker" is served, if it is. */
export async function everything({ gpu = false, workerUrl } = {}) {
  const cpu = { device: "wasm", threads: 1 };
  return {
    sample: SAMPLE,
    relaxed: hasRelaxedSimd(),
    runs: {
      plain: await compute(onepass),
      baseline: await onEngine({ ...cpu, variant: "baseline" }),
      relaxed: await onEngine({ ...cpu, variant: "relaxed" }),
      threads: await onEngine({ ...cpu, threads: 2 }),
      workerUrl: workerUrl === undefined ? undefined : await onEngine({ ...cpu, threads: 2, workerUrl }),
      webgpu: gpu ? await onEngine({ device: "webgpu", threads: 1 }) : undefined,
      auto: await onEngine(),
    },
  };
}
