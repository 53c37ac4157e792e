// Every way to compute that the package has, each as apps/sample.js does it. Bundled by every bundler, and run as it is by every runtime.
import * as onepass from "onepass";
import { createInstance, hasRelaxedSimd } from "onepass/testing";
import { SAMPLE, compute } from "./sample.js";

/** Results with one of the two binaries, or the error that this engine lacks it. */
async function withBinary(variant) {
  try {
    return await compute(createInstance(variant));
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
}

export async function everything() {
  return {
    sample: SAMPLE,
    relaxed: hasRelaxedSimd(),
    runs: { plain: await compute(onepass), baseline: await withBinary("baseline"), relaxed: await withBinary("relaxed") },
  };
}
