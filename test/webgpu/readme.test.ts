import { expect, test } from "vitest";
import { createEngine } from "../../src/index.ts";
import { readmeBlocks, readmeScope, runExample } from "../support/examples.ts";
import { cutGpu, findGpu } from "../support/gpu.ts";
import { unavailable } from "../support/variants.ts";

// What README.md shows of tensors on the GPU runs as well; the rest does in test/contract/examples.test.ts.

const blocks = readmeBlocks().filter(({ language }) => language === "ts webgpu");

test("README.md has examples of tensors on the GPU", () => expect(blocks.length).toBeGreaterThan(0));

test.for(blocks.map((block) => [`${block.heading}, line ${block.line}`, block.code] as const))("%s", async ([, code], { skip }) => {
  const found = await findGpu();
  if (found.gpu === undefined) {
    unavailable(skip, found.reason);
    return;
  }
  const engine = await createEngine({ device: "webgpu", gpu: cutGpu(found.gpu, { features: [], lowestLimits: true }) });
  try {
    await runExample(code, { ...readmeScope(), engine });
  } finally {
    engine.dispose();
  }
});
